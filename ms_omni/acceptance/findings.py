"""What one check found, the words of an error, and the verdict of several checks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ms_omni.acceptance.privacy import redact

OK, DIFFERS, ERROR, SKIPPED = "ok", "differs", "error", "skipped"
_WORST_FIRST = (ERROR, DIFFERS, OK, SKIPPED)
LONGEST_MESSAGE = 2000
# MindSpore 2.7.1 appends sections between lines of dashes; these list places of its own source
_FOR_DEVELOPERS = re.compile(r"\n-+\n- (?:C\+\+ Call Stack|The Traceback of Net Construct Code).*", re.DOTALL)
_RULER = re.compile(r"^-{8,}$\n?", re.MULTILINE)


class Skipped(Exception):
    """Raised by a check that has nothing to do here: the reason, and what would run it."""


@dataclass(frozen=True)
class Finding:
    """What a check returns. difference, allowed: in `unit`, None where nothing is compared. figures: what was measured
    or read."""

    difference: float | None = None
    allowed: float | None = None
    unit: str = ""
    note: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """DIFFERS also for a difference that is no number."""
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

    def summary(self) -> str:
        """The finding in a few words."""
        if self.verdict == DIFFERS:
            return f"differs by {self.difference:.3g} {self.unit} (allowed {self.allowed:g}) {self.message}".rstrip()
        return f"{self.verdict}: {self.message}" if self.message else self.verdict

    def to_json(self) -> dict[str, Any]:
        """Without what is empty."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "", {})}


def worst(verdicts: Iterable[str]) -> str:
    """The verdict of several checks together; SKIPPED for none."""
    return min(verdicts, key=_WORST_FIRST.index, default=SKIPPED)


def message_of(error: BaseException) -> str:
    """What CANN and MindSpore say, without the parts for their developers; at most LONGEST_MESSAGE characters."""
    text = _RULER.sub("", _FOR_DEVELOPERS.sub("", str(error)))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kind = type(error).__name__
    said = redact(f"{kind}: " + "\n".join(lines) if lines else kind)
    return said if len(said) <= LONGEST_MESSAGE else said[:LONGEST_MESSAGE] + " …"
