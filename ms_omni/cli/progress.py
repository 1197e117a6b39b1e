"""Progress on stderr: bars on a terminal, otherwise a line now and then for what takes long."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ms_omni.cli.interrupt import raise_interrupt_again
from ms_omni.cli.parser import is_terminal

if TYPE_CHECKING:
    from rich.console import Console

    from ms_omni.config import EngineConfig
    from ms_omni.engine import OmniEngine

# Label and unit of each stage that the engine reports.
STAGES = {
    "load": ("loading", "weights"),
    "quantize": ("rounding", "weights"),
    "compile": ("compiling", "graphs"),
    "thinker": ("thinking", "tokens"),
    "talker": ("speaking", "frames"),
    "code2wav": ("rendering", "frames"),
    "recording": ("listening", "s"),
}
# In a log a stage that is over within this time says nothing at all.
LOG_INTERVAL_S = 30.0
# Seconds between a rank's lines. `ms-omni launch` sets it on a terminal, where it shows the last line in one place.
INTERVAL_VARIABLE = "MS_OMNI_PROGRESS_S"


class LogProgress:
    """`progress(stage, done, total)` as a line every `interval_s` for a log file; the first one after that time, or
    at once."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        interval_s: float = LOG_INTERVAL_S,
        at_once: bool = False,
    ) -> None:
        self._clock, self._interval_s, self._at_once = clock, interval_s, at_once
        self._next_line_s: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        raise_interrupt_again()
        now = self._clock()
        due = self._next_line_s.setdefault(stage, now if self._at_once else now + self._interval_s)
        if now < due:
            return
        self._next_line_s[stage] = now + self._interval_s
        label, count = STAGES.get(stage, (stage, ""))[0], _count(stage, done, total)
        print(f"ms-omni: {label}{f': {count}' if count else ' ...'}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to clear."""


class BarProgress:
    """`progress(stage, done, total)` as rich progress bars, one a stage, that vanish on close. A total of 0 means that
    it is not known yet."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
        )
        self._bars = Progress(*columns, console=stderr_console(), transient=True, redirect_stdout=False)
        self._tasks: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        raise_interrupt_again()
        if stage not in self._tasks:
            self._bars.start()
            self._tasks[stage] = self._bars.add_task(STAGES.get(stage, (stage, ""))[0], total=None, count="")
        self._bars.update(self._tasks[stage], completed=done, total=total or None, count=_count(stage, done, total))

    def close(self) -> None:
        self._bars.stop()


def stderr_console() -> Console:
    """For bars on stderr: with a descriptor of its own, which stays when an interrupt silences descriptor 2."""
    from rich.console import Console

    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return Console(stderr=True)
    return Console(file=open(descriptor, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors))


class AfterTextProgress:
    """Silent while the Thinker's text is being streamed to the same terminal, then `progress` below the text."""

    def __init__(self, progress: LogProgress | BarProgress, end_text: Callable[[], None]) -> None:
        self._progress, self._end_text = progress, end_text

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != "thinker":
            self._end_text()
            self._progress(stage, done, total)

    def close(self) -> None:
        self._progress.close()


def _count(stage: str, done: int, total: int) -> str:
    """12 of 99 tokens; nothing before the first where nobody knows how many there will be."""
    unit = STAGES.get(stage, ("", ""))[1]
    return (f"{done} of {total} {unit}" if total else f"{done} {unit}" if done else "").rstrip()


def make_progress() -> LogProgress | BarProgress:
    """Bars when stderr is a terminal."""
    if is_terminal(sys.stderr):
        return BarProgress()
    if is_shown_live():
        return LogProgress(interval_s=float(os.environ[INTERVAL_VARIABLE]), at_once=True)
    return LogProgress()


def load_engine(config: EngineConfig) -> OmniEngine:
    """With progress, which begins before MindSpore and mindone are imported: that alone takes seconds."""
    progress = make_progress()
    try:
        progress("load", 0, 0)
        from ms_omni.engine import OmniEngine

        return OmniEngine(config, progress)
    finally:
        progress.close()


def is_shown_live() -> bool:
    """Whether somebody watches this rank of a job on a terminal."""
    return INTERVAL_VARIABLE in os.environ
