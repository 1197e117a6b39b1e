"""Takes the time of the stages of one answer, and what gauges show in each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from ms_omni.profiling.document import Span
from ms_omni.stages import watched_by

# Numbers that only rise, by whatever tells them apart
Gauges = Callable[[], Mapping[Any, int]]
Made = TypeVar("Made")
WALL = ""


def no_gauges() -> Mapping[Any, int]:
    """Nothing is counted."""
    return {}


class StageClock:
    """A stages.Watcher. It waits for the device whenever a stage begins or ends, so that a stage's time is of its own
    work. own_s: seconds of each stage without the stages within it; counts: by how much each gauge has risen then.
    Outside all stages is the stage WALL. Seconds of spans and marks are from `start`."""

    def __init__(self, clock: Callable[[], float], synchronize: Callable[[], object], gauges: Gauges = no_gauges):
        self._clock, self._synchronize, self._gauges = clock, synchronize, gauges
        self.own_s: dict[str, float] = {}
        self.counts: dict[str, dict[Any, int]] = {}
        self.spans: list[Span] = []
        self.marks: dict[str, list[tuple[float, int]]] = {}
        self._stack = [WALL]
        self._zero = self._since = 0.0
        self._shown: Mapping[Any, int] = {}

    def start(self) -> None:
        """The question is asked now."""
        self._synchronize()
        self._since, self._shown = self._clock(), self._gauges()
        self._zero = self._since

    def watch(self, work: Callable[[], Made]) -> Made:
        """Does `work` while watching its stages."""
        with watched_by(self):
            self.start()
            return work()

    def stop(self) -> float:
        """The answer is complete: seconds since the start."""
        self._settle()
        return self._since - self._zero

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Around the work of a stage."""
        self._settle()
        start, depth = self._since - self._zero, len(self._stack) - 1
        self._stack.append(name)
        try:
            yield
        finally:
            self._settle()
            self._stack.pop()
            self.spans.append(Span(stage=name, start_s=start, end_s=self._since - self._zero, depth=depth))

    def mark(self, name: str, count: int) -> None:
        """`count` more of what `name` says have been made. They are on the host: nothing to wait for."""
        self.marks.setdefault(name, []).append((self._clock() - self._zero, count))

    def _settle(self) -> None:
        """What has passed since the last time belongs to the innermost stage."""
        self._synchronize()
        now, shown, stage = self._clock(), self._gauges(), self._stack[-1]
        self.own_s[stage] = self.own_s.get(stage, 0.0) + now - self._since
        counts = self.counts.setdefault(stage, {})
        for name, value in shown.items():
            counts[name] = counts.get(name, 0) + value - self._shown.get(name, 0)
        self._since, self._shown = now, shown
