"""What one check found, and what several together say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

OK, DIFFERS, ERROR, SKIPPED = "ok", "differs", "error", "skipped"
# The first of these that one of several checks has is the verdict of them all.
_WORST_FIRST = (ERROR, DIFFERS, OK, SKIPPED)


class Skipped(Exception):
    """Raised by a check that has nothing to do here: the reason, and what would run it."""


@dataclass(frozen=True)
class Finding:
    """What a check returns. difference, allowed: in `unit`, None where nothing is compared; figures: what was measured
    or read."""

    difference: float | None = None
    allowed: float | None = None
    unit: str = ""
    note: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """A difference that is no number differs."""
        if self.difference is None or self.allowed is None or self.difference <= self.allowed:
            return OK
        return DIFFERS


@dataclass(frozen=True)
class Check:
    """One line of the document. message: of an error or a skipped check, in the words of CANN or MindSpore."""

    step: str
    name: str
    verdict: str
    seconds: float
    difference: float | None = None
    allowed: float | None = None
    unit: str = ""
    message: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, step: str, name: str, seconds: float, found: Finding) -> Check:
        return cls(
            step, name, found.verdict, seconds, found.difference, found.allowed, found.unit, found.note, found.figures
        )

    def said(self) -> str:
        """Its finding in a few words."""
        if self.verdict == DIFFERS:
            return f"differs by {self.difference:.3g} {self.unit} (allowed {self.allowed:g}) {self.message}".rstrip()
        return f"{self.verdict}: {self.message}" if self.message else self.verdict

    def to_json(self) -> dict[str, Any]:
        """Without what is empty."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "", {})}


def worst(verdicts: Iterable[str]) -> str:
    """The verdict of several checks together; SKIPPED for none."""
    found = set(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in found), SKIPPED)
