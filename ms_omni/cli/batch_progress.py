"""How far a batch has come, on stderr: counts and speed now and then, and every failure."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from ms_omni.cli.parser import is_terminal, print_note

# A terminal is watched, a log is read later.
_TERMINAL_INTERVAL_S = 2.0
_LOG_INTERVAL_S = 30.0


class BatchProgress:
    """Counts the results of one run of all processes. `total` conversations, of which `kept` were answered before."""

    def __init__(self, total: int, kept: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._kept, self._clock = total, kept, clock
        self._interval_s = _TERMINAL_INTERVAL_S if is_terminal(sys.stderr) else _LOG_INTERVAL_S
        self._new = self._failed = self._tokens = 0
        self._shows = False
        self._start_s = self._next_line_s = 0.0

    def start(self, shows: bool) -> None:
        """The clock of tokens/s begins: the model is loaded. `shows`: whether this process prints."""
        self._shows = shows
        self._start_s = self._clock()
        self._next_line_s = self._start_s + self._interval_s
        if shows and self._kept:
            print_note(f"{self._kept} of {self._total} are answered already")

    def add(self, result: dict[str, Any]) -> None:
        self._new += 1
        if "error" in result:
            self._failed += 1
            if self._shows:
                print_note(f"{result['id']}: {result['error']}")
        else:
            self._tokens += result["usage"]["completion_tokens"]
        if self._shows and self._clock() >= self._next_line_s:
            self._next_line_s = self._clock() + self._interval_s
            print_note(self._line())

    def summary(self) -> str:
        return f"{self._line()}, {self._tokens} tokens in {self._clock() - self._start_s:.1f} s"

    def _line(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        speed = self._tokens / max(self._clock() - self._start_s, 1e-9)
        return f"{self._kept + self._new} of {self._total} done{failed}, {speed:.1f} tokens/s"
