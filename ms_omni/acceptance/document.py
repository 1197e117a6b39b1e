"""The file that `accept` writes: what every rank found, without names of users, hosts and directories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ms_omni.acceptance.findings import DIFFERS, ERROR, OK, SKIPPED, Check, worst
from ms_omni.acceptance.journal import CARD, END, checks_of, unfinished
from ms_omni.acceptance.steps import STEPS
from ms_omni.profiling.environment import EMULATED

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RankResult:
    """checks: those that have ended. running: the check that had begun and has not ended. complete: whether the rank
    did all its steps. soc: the card's name, "" where it is not known."""

    rank: int
    checks: tuple[Check, ...] = ()
    running: str = ""
    complete: bool = False
    soc: str = ""

    def of_step(self, step: str) -> list[Check]:
        """The checks of one step, in order."""
        return [check for check in self.checks if check.step == step]


@dataclass(frozen=True)
class Acceptance:
    """What all ranks found. header: when, with which versions. names: of the steps that were asked for."""

    header: dict[str, Any]
    ranks: tuple[RankResult, ...]
    names: tuple[str, ...]
    quick: bool = False
    interrupted: bool = False

    @property
    def checks(self) -> list[tuple[int, Check]]:
        """With their ranks."""
        return [(result.rank, check) for result in self.ranks for check in result.checks]

    @property
    def failed(self) -> list[tuple[int, Check]]:
        """Checks that differ or ended with an error, with their ranks."""
        return [(rank, check) for rank, check in self.checks if check.verdict in (DIFFERS, ERROR)]

    @property
    def complete(self) -> bool:
        """Whether every rank did all its steps."""
        return not self.interrupted and bool(self.ranks) and all(result.complete for result in self.ranks)

    @property
    def accepted(self) -> bool:
        """Whether all that was asked for was checked and is right."""
        return self.complete and not self.failed

    @property
    def soc(self) -> str:
        """The card's name, from the first rank that knows it."""
        return next((result.soc for result in self.ranks if result.soc), "unknown")

    def verdict(self) -> str:
        """One line; an emulated card is named as such."""
        return self._verdict() + (f" ({EMULATED})" if self.header.get("emulated") else "")

    def _verdict(self) -> str:
        right = sum(check.verdict == OK for _, check in self.checks)
        skipped = sum(check.verdict == SKIPPED for _, check in self.checks)
        where = self.soc + (f", {len(self.ranks)} ranks" if len(self.ranks) > 1 else "")
        counts = f"{right} checks ok" + (f", {skipped} skipped" if skipped else "")
        if self.accepted:
            return f"accepted: {where}: {counts}"
        if not self.failed:
            return f"not complete: {where}: {counts}, and no more: it was interrupted"
        steps = ", ".join(step.name for step in STEPS if any(check.step == step.name for _, check in self.failed))
        return f"not accepted: {where}: {len(self.failed)} of {right + len(self.failed)} checks failed, in: {steps}"

    def to_json(self) -> dict[str, Any]:
        """The file's content, of SCHEMA_VERSION."""
        return {
            "schema_version": SCHEMA_VERSION,
            "what": "ms-omni accept",
            "verdict": self.verdict(),
            "accepted": self.accepted,
            "complete": self.complete,
            "quick": self.quick,
            **self.header,
            "soc": self.soc,
            "ranks": [self._rank(result) for result in self.ranks],
        }

    def _rank(self, result: RankResult) -> dict[str, Any]:
        steps = [
            {
                "step": step.name,
                "title": step.title,
                "verdict": worst(check.verdict for check in result.of_step(step.name)),
                "seconds": round(sum(check.seconds for check in result.of_step(step.name)), 2),
                "checks": [_without_step(check) for check in result.of_step(step.name)],
            }
            for step in STEPS
            if step.name in self.names or result.of_step(step.name)
        ]
        running = {"running": result.running} if result.running else {}
        return {"rank": result.rank, "complete": result.complete, **running, "steps": steps}


def rank_result(rank: int, events: list[dict[str, Any]]) -> RankResult:
    """events: of the rank's journal."""
    at = unfinished(events)
    ended = any(event["event"] == END for event in events)
    soc = next((event["soc"] for event in events if event["event"] == CARD), "")
    return RankResult(rank, tuple(checks_of(events)), ": ".join(at) if at else "", ended, soc)


def _without_step(check: Check) -> dict[str, Any]:
    """JSON has no infinity."""
    values = {key: value for key, value in check.to_json().items() if key != "step"}
    if "difference" in values and not math.isfinite(values["difference"]):
        values["difference"] = "infinite"
    return values
