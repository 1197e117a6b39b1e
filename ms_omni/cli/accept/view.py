"""What `accept` shows: its progress on stderr, its table and verdict on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ms_omni.acceptance.findings import DIFFERS, ERROR, SKIPPED, worst
from ms_omni.acceptance.journal import BEGIN, STEP, checks_of
from ms_omni.acceptance.steps import STEPS
from ms_omni.cli.terminal import is_terminal

if TYPE_CHECKING:
    from typing import TextIO

    from ms_omni.acceptance.document import Acceptance

_COLOURS = {"ok": "green", "differs": "bold red", "error": "bold red", "skipped": "dim"}
_MESSAGE_LINES = 6  # of an error; the file has all of it


class StepLines:
    """Progress for a log: a line for every step that has ended."""

    def __init__(self) -> None:
        self._num_shown = 0

    def __call__(self, events: list[dict[str, Any]]) -> None:
        """events: all of them, from the first."""
        ended = [event["step"] for event in events if event["event"] == STEP]
        for step in ended[self._num_shown :]:
            checks = [check for check in checks_of(events) if check.step == step]
            seconds = sum(check.seconds for check in checks)
            verdict = worst(check.verdict for check in checks)
            self.show(f"ms-omni: accept: {step}: {len(checks)} checks, {verdict} ({seconds:.1f} s)")
        self._num_shown = len(ended)

    def show(self, line: str) -> None:
        """One line on stderr, at once."""
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to clear."""


class LiveSteps(StepLines):
    """Progress on a terminal: the same lines, and below them the check that is running."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console

        self._console = Console(stderr=True)
        self._status = self._console.status("loading MindSpore")
        self._status.start()

    def __call__(self, events: list[dict[str, Any]]) -> None:
        """events: all of them, from the first."""
        super().__call__(events)
        if events and events[-1]["event"] == BEGIN:
            self._status.update(f"{events[-1]['step']}: {events[-1]['name']}")

    def show(self, line: str) -> None:
        """Above the check that is running."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Clears the check that was running."""
        self._status.stop()


def make_step_progress() -> StepLines:
    """Live when stderr is a terminal."""
    return LiveSteps() if is_terminal(sys.stderr) else StepLines()


def print_results(acceptance: Acceptance, out: TextIO) -> None:
    """A line for each step, what failed or was skipped, what was measured, and the verdict last."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False)
    for heading in ("step", "what", "checks", "verdict", "seconds"):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("checks", "seconds") else "left")
    for step in STEPS:
        checks = [check for _, check in acceptance.checks if check.step == step.name]
        if checks:
            verdict = worst(check.verdict for check in checks)
            seconds = max(sum(c.seconds for c in result.of_step(step.name)) for result in acceptance.ranks)
            marked = f"[{_COLOURS[verdict]}]{verdict}[/{_COLOURS[verdict]}]"
            table.add_row(step.name, step.title, str(len(checks)), marked, f"{seconds:.1f}")
    console = Console(file=out)
    console.print(table)
    for line in (*_remarks(acceptance), *_measured(acceptance), *_unfinished(acceptance), "", acceptance.verdict()):
        console.print(line, markup=False, soft_wrap=True, highlight=False)


def _remarks(acceptance: Acceptance) -> list[str]:
    """What failed or was skipped; where several checks of a step say the same, it is said once."""
    alike: dict[tuple[str, str], list[str]] = {}
    for rank, check in acceptance.checks:
        if check.verdict in (DIFFERS, ERROR, SKIPPED):
            said = "\n    ".join(check.summary().splitlines()[:_MESSAGE_LINES])
            where = f"{check.name} (rank {rank})" if len(acceptance.ranks) > 1 else check.name
            alike.setdefault((check.step, said), []).append(where)
    return [
        f"{step}: {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {said}"
        for (step, said), names in alike.items()
    ]


def _measured(acceptance: Acceptance) -> Iterator[str]:
    for rank, check in acceptance.checks:
        if check.step == "speed" and check.figures and rank == 0:
            yield f"measured: {check.name}: {', '.join(f'{name} {value}' for name, value in check.figures.items())}"


def _unfinished(acceptance: Acceptance) -> Iterator[str]:
    for result in acceptance.ranks:
        if not result.complete:
            yield f"rank {result.rank} did not end{f': it was in {result.running}' if result.running else ''}"
