"""Progress of a batch on stderr: a bar on a terminal, else counts and speed now and then; and every failure."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ms_omni.cli.progress import is_shown_live
from ms_omni.cli.terminal import clock_text, is_terminal, print_note, stderr_console

if TYPE_CHECKING:
    from rich.progress import Progress

    from ms_omni.cli.batch.item import Answer

_LOG_INTERVAL_S = 30.0


class BatchProgress:
    """Counts the answers of one run, those of all processes. total: conversations. answered: how many of them an
    earlier run has answered."""

    def __init__(self, total: int, answered: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._answered, self._clock = total, answered, clock
        self._new = self._failed = self._tokens = 0
        self._shows = False
        self._start_s = self._last_s = self._next_line_s = 0.0
        self._bar: Progress | None = None

    def start(self, shows: bool) -> None:
        """Starts the clock of tokens/s; called when the model is loaded. shows: whether this process prints."""
        self._shows = shows
        self._start_s = self._last_s = self._clock()
        self._next_line_s = self._start_s + _LOG_INTERVAL_S
        if shows and self._answered:
            print_note(f"{self._answered} of {self._total} are answered already")
        if shows and is_terminal(sys.stderr):
            self._bar = _bar(self._total, self._answered, self._line_of_bar)
        elif shows and is_shown_live():
            self._show_live()

    def add(self, name: str, answer: Answer) -> None:
        """Counts one answer, and shows it if it is due; a failure is always shown, under `name`."""
        self._new += 1
        self._last_s = self._clock()
        self._tokens += answer.num_tokens
        if answer.failure is not None:
            self._failed += 1
            if self._shows:
                print_note(f"{name}: {answer.failure}")
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])
        elif self._shows and is_shown_live():
            self._show_live()
        elif self._shows and self._last_s >= self._next_line_s:
            self._next_line_s = self._last_s + _LOG_INTERVAL_S
            print_note(self._line())

    def close(self) -> None:
        """The bar vanishes."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def summary(self) -> str:
        """The last line: counts, tokens and seconds."""
        return f"{self._line()}, {self._tokens} tokens in {self._clock() - self._start_s:.1f} s"

    def left_s(self) -> float | None:
        """Seconds until all are answered, at the speed of this run so far; None before its first answer."""
        if not self._new:
            return None
        each_s = (self._last_s - self._start_s) / self._new
        left = self._total - self._answered - self._new
        return max(0.0, left * each_s - (self._clock() - self._last_s))

    def _show_live(self) -> None:
        """`ms-omni launch` recognises this form and shows it in one line of its terminal."""
        left_s = self.left_s()
        left = "" if left_s is None else f", {clock_text(left_s)} left"
        print_note(f"answered: {self._answered + self._new} of {self._total} conversations{left}")

    def _line(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        speed = self._tokens / max(self._clock() - self._start_s, 1e-9)
        return f"{self._answered + self._new} of {self._total} done{failed}, {speed:.1f} tokens/s"

    def _line_of_bar(self) -> str:
        left_s = self.left_s()
        return self._line() if left_s is None else f"{self._line()}, {clock_text(left_s)} left"


def _bar(total: int, done: int, line: Callable[[], str]) -> Progress:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task
    from rich.text import Text

    class Line(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(line(), no_wrap=True, overflow="ellipsis")

    columns = (BarColumn(bar_width=20), Line())
    # notes, which go to stderr, appear above the bar
    bar = Progress(*columns, console=stderr_console(), transient=True, redirect_stdout=False, refresh_per_second=2)
    bar.add_task("answering", total=total, completed=done)
    bar.start()
    return bar
