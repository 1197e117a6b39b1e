"""Takes the time of the stages of answers, and what gauges show in each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from ms_omni.profiling.document import Span
from ms_omni.stages import watched_by

# Numbers that only rise, by whatever tells them apart
Gauges = Callable[[], Mapping[Any, int]]
Made = TypeVar("Made")
WALL = ""
# What threads of their own do on the host for one conversation while the device may work for others
BESIDE = ("media", "processor")


def no_gauges() -> Mapping[Any, int]:
    """Nothing is counted."""
    return {}


class StageClock:
    """A stages.Watcher, for stages of several threads. It waits for the device whenever a stage of its work begins or
    ends, so that a stage's time is of its own work. own_s: seconds of each stage without the stages within it; counts:
    by how much each gauge has risen then. Outside all stages is the stage WALL, and all of them together are the time
    from `start` to `stop`: what is done BESIDE the device's work counts only while the device has none. Seconds of
    spans and marks are from `start`."""

    def __init__(self, clock: Callable[[], float], synchronize: Callable[[], object], gauges: Gauges = no_gauges):
        self._clock, self._synchronize, self._gauges = clock, synchronize, gauges
        self.own_s: dict[str, float] = {}
        self.counts: dict[str, dict[Any, int]] = {}
        self.spans: list[Span] = []
        self.marks: dict[str, list[tuple[float, int]]] = {}
        self._stacks: dict[int, list[str]] = {}  # by thread, in the order in which they came
        self._lock = threading.Lock()
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
        self._synchronize()
        with self._lock:
            self._settle(is_of_device=True)
            return self._since - self._zero

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Around the work of a stage."""
        is_of_device = name not in BESIDE
        if is_of_device:
            self._synchronize()
        with self._lock:
            self._settle(is_of_device)
            me = threading.get_ident()
            stack = self._stacks.setdefault(me, [])
            thread = list(self._stacks).index(me)
            start, depth = self._since - self._zero, len(stack)
            stack.append(name)
        try:
            yield
        finally:
            if is_of_device:
                self._synchronize()
            with self._lock:
                self._settle(is_of_device)
                stack.pop()
                end = self._since - self._zero
                self.spans.append(Span(stage=name, start_s=start, end_s=end, depth=depth, thread=thread))

    def mark(self, name: str, count: int) -> None:
        """`count` more of what `name` says have been made. They are on the host: nothing to wait for."""
        self.marks.setdefault(name, []).append((self._clock() - self._zero, count))

    def _settle(self, is_of_device: bool) -> None:
        """What has passed since the last time belongs to the innermost stage of the device's work, or of what is done
        beside it. The device's gauges are read by the threads that work for it alone."""
        now, innermost = self._clock(), [stack[-1] for stack in self._stacks.values() if stack]
        of_device = next((stage for stage in innermost if stage not in BESIDE), None)
        at_work = of_device or next(iter(innermost), WALL)
        self.own_s[at_work] = self.own_s.get(at_work, 0.0) + now - self._since
        self._since = now
        if is_of_device:
            shown = self._gauges()
            counts = self.counts.setdefault(of_device or WALL, {})
            for name, value in shown.items():
                counts[name] = counts.get(name, 0) + value - self._shown.get(name, 0)
            self._shown = shown
