"""Measures the seconds of each stage of an answer, and how counters change during it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from ms_omni.profiling.document import Span
from ms_omni.stages import watched_by

# Reads counters, which only rise
Gauges = Callable[[], Mapping[Any, int]]
Made = TypeVar("Made")
WALL = ""
# Host stages, in threads of their own while the device may work for other conversations
HOST_STAGES = ("media", "processor")


class StageClock:
    """A stages.Watcher for the stages of several threads. It waits for the device whenever a device stage begins or
    ends, so that asynchronous work counts for the stage that launched it. own_s: seconds of each stage without its
    nested stages. counts: by how much each counter has risen during it. Time outside all stages belongs to the stage
    WALL. The stages add up to the time from `start` to `stop`: HOST_STAGES count only while no device stage runs.
    Seconds of spans and marks are from `start`."""

    def __init__(self, clock: Callable[[], float], synchronize: Callable[[], object], gauges: Gauges = lambda: {}):
        self._clock, self._synchronize, self._gauges = clock, synchronize, gauges
        self.own_s: dict[str, float] = {}
        self.counts: dict[str, dict[Any, int]] = {}
        self.spans: list[Span] = []
        self.marks: dict[str, list[tuple[float, int]]] = {}
        self._stacks: dict[int, list[str]] = {}  # by thread, in the order of their first stages
        self._lock = threading.Lock()
        self._zero = self._since = 0.0
        self._counted: Mapping[Any, int] = {}

    def start(self) -> None:
        """The request begins now."""
        self._synchronize()
        self._since, self._counted = self._clock(), self._gauges()
        self._zero = self._since

    def watch(self, work: Callable[[], Made]) -> Made:
        """Calls `work` and measures its stages."""
        with watched_by(self):
            self.start()
            return work()

    def stop(self) -> float:
        """The answer is complete. Returns the seconds since `start`."""
        self._synchronize()
        with self._lock:
            self._settle(is_of_device=True)
            return self._since - self._zero

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """As stages.Watcher."""
        is_of_device = name not in HOST_STAGES
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
        """As stages.Watcher. What is marked is on the host already, so there is no device to wait for."""
        self.marks.setdefault(name, []).append((self._clock() - self._zero, count))

    def _settle(self, is_of_device: bool) -> None:
        """Adds the time since the last call to the innermost device stage; without one, to a host stage. Only threads
        with device stages read the counters."""
        now, innermost = self._clock(), [stack[-1] for stack in self._stacks.values() if stack]
        of_device = next((stage for stage in innermost if stage not in HOST_STAGES), None)
        at_work = of_device or next(iter(innermost), WALL)
        self.own_s[at_work] = self.own_s.get(at_work, 0.0) + now - self._since
        self._since = now
        if is_of_device:
            counted = self._gauges()
            counts = self.counts.setdefault(of_device or WALL, {})
            for name, value in counted.items():
                counts[name] = counts.get(name, 0) + value - self._counted.get(name, 0)
            self._counted = counted
