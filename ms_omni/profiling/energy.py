"""Energy of the cards while something runs: their power, read now and then, times the seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# Watts of each card; None where they cannot be read.
ReadPower = Callable[[], list[float] | None]
INTERVAL_S = 0.5


class EnergyMeter:
    """`start()`, the work, `stop()`. Power between two readings counts as their mean; all cards together.

    A reading takes a process of npu-smi: `interval_s` between them keeps its cost small."""

    def __init__(self, read: ReadPower, interval_s: float = INTERVAL_S, clock: Callable[[], float] = time.monotonic):
        self._read, self._interval_s, self._clock = read, interval_s, clock
        self._readings: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """The first reading, before this returns; the others by a thread of its own."""
        self._readings, self._ended = [], threading.Event()
        if not self._take():
            return  # nothing to be read here
        self._thread = threading.Thread(target=self._sample, name="ms-omni-power", daemon=True)
        self._thread.start()

    def stop(self) -> float | None:
        """Joules since `start`; None where no power could be read."""
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
    """(seconds, watts) in order -> the area below them; None for fewer than two."""
    if len(readings) < 2:
        return None
    pairs = zip(readings, readings[1:], strict=False)
    return sum((after - before) * (high + low) / 2 for (before, low), (after, high) in pairs)
