"""A line of JSON for each event, written to the disk at once, so that a process that crashes leaves what it found."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ms_omni.acceptance.findings import Check

CARD, BEGIN, CHECK, STEP, NO_CARD, END = "card", "begin", "check", "step", "no card", "end"


class Journal:
    """Appends to a file that other processes may read meanwhile; only one writes at a time."""

    def __init__(self, path: Path):
        self.path = path

    def note(self, event: str, **values: Any) -> None:
        """Writes one line and waits until it is on the disk."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **values}, ensure_ascii=False, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def begin(self, step: str, name: str) -> None:
        """A check begins."""
        self.note(BEGIN, step=step, name=name)

    def check(self, check: Check) -> None:
        """A check has ended."""
        self.note(CHECK, **check.to_json())


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The events of all complete lines; none if there is no such file yet."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1] if line]


def checks_of(events: list[dict[str, Any]]) -> list[Check]:
    """The checks that have ended, in order."""
    return [Check(**{k: v for k, v in event.items() if k != "event"}) for event in events if event["event"] == CHECK]


def unfinished(events: list[dict[str, Any]]) -> tuple[str, str] | None:
    """Step and name of the check that has begun and not ended, or None."""
    last = next((event for event in reversed(events) if event["event"] in (BEGIN, CHECK)), None)
    return (last["step"], last["name"]) if last is not None and last["event"] == BEGIN else None
