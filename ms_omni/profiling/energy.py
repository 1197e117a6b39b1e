"""Energy of the cards during some work: their power, read at intervals, integrated over time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise

# Watts of each card; None if they cannot be read
ReadPower = Callable[[], list[float] | None]
INTERVAL_S = 0.5


class EnergyMeter:
    """`start()`, the work, `stop()`. All cards together; power between two readings counts as their mean.

    interval_s: between readings, each of which runs npu-smi."""

    def __init__(self, read: ReadPower, interval_s: float = INTERVAL_S, clock: Callable[[], float] = time.monotonic):
        self._read, self._interval_s, self._clock = read, interval_s, clock
        self._readings: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Takes the first reading; a thread takes the others."""
        self._readings, self._ended = [], threading.Event()
        if not self._take():
            return  # nothing to be read here
        self._thread = threading.Thread(target=self._sample, name="ms-omni-power", daemon=True)
        self._thread.start()

    def stop(self) -> float | None:
        """Joules since `start`; None if no power could be read."""
        if self._thread is None:
            return None
        self._ended.set()
        self._thread.join()
        self._thread = None
        self._take()
        return joules(self._readings)

    def _sample(self) -> None:
        while not self._ended.wait(self._interval_s):
            self._take()

    def _take(self) -> bool:
        watts = self._read()
        if watts:
            self._readings.append((self._clock(), sum(watts)))
        return bool(watts)


def joules(readings: list[tuple[float, float]]) -> float | None:
    """The area below the power. readings: (seconds, watts) in order; None for fewer than two."""
    if len(readings) < 2:
        return None
    return sum((after - before) * (high + low) / 2 for (before, low), (after, high) in pairwise(readings))
