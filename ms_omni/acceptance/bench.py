"""Runs checks one after the other, measures their time, writes down what they found, and goes on after failures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ms_omni.acceptance.findings import ERROR, SKIPPED, Check, Finding, Skipped, message_of
from ms_omni.acceptance.journal import Journal
from ms_omni.parallel.world import World

RESTART_CODE = 77  # the device of this process is lost; a new process may have it again


@dataclass
class Bench:
    """device: "Ascend" (or "CPU" in tests). done: (step, check) of the checks that an earlier process has done.
    restarts: whether this process is started anew when its device is lost."""

    journal: Journal
    device: str
    quick: bool = False
    world: World = field(default_factory=World)
    done: frozenset[tuple[str, str]] = frozenset()
    restarts: bool = False
    step: str = ""
    _lost_in: str = ""

    def check(self, name: str, work: Callable[[], Finding | None]) -> None:
        """Writes down what `work` returns, or the error that it raises."""
        if (self.step, name) in self.done:
            return
        self.journal.begin(self.step, name)
        start = time.perf_counter()
        if self._lost_in:
            reason = f"the device does not answer since {self._lost_in}"
            self.journal.check(Check(self.step, name, SKIPPED, 0.0, message=reason))
            return
        try:
            found = work() or Finding()
            self._synchronize()
            seconds = round(time.perf_counter() - start, 3)
            compared = (found.difference, found.allowed, found.unit, found.note, found.figures)
            check = Check(self.step, name, found.verdict, seconds, *compared)
        except Skipped as reason:
            check = Check(self.step, name, SKIPPED, 0.0, message=str(reason))
        except Exception as error:
            seconds = round(time.perf_counter() - start, 3)
            check = Check(self.step, name, ERROR, seconds, message=self._message(error))
        self.journal.check(check)
        if check.verdict == ERROR and not self._is_alive():
            self._device_lost(name)

    def _message(self, error: Exception) -> str:
        """The message of `error`, after the device's own where it has one: launches are asynchronous, so what was
        raised may be the consequence of an error that shows only when the device is waited for."""
        said = message_of(error)
        try:
            self._synchronize()
        except Exception as earlier:
            words = message_of(earlier)
            return said if words in said else f"{words}\nthen {said}"
        return said

    def _synchronize(self) -> None:
        """Waits for the device: its remaining work and its errors belong to this check."""
        import mindspore as ms

        ms.runtime.synchronize()

    def _is_alive(self) -> bool:
        """Whether the device still computes: after some errors nothing works in this process."""
        import mindspore as ms
        import numpy as np

        try:
            self._synchronize()
            return bool((ms.Tensor(np.array([1.0, 2.0], np.float32)) + 1).asnumpy().tolist() == [2.0, 3.0])
        except Exception:
            return False

    def _device_lost(self, name: str) -> None:
        if self.restarts:
            os._exit(RESTART_CODE)
        self._lost_in = f"{self.step}, {name}"


def random(seed: Any, *shape: int, dtype: Any) -> Any:
    """Normally distributed values of a numpy dtype, the same for a seed on every machine."""
    import numpy as np

    words = [ord(letter) for letter in str(seed)]
    return np.random.default_rng([*words, *shape]).standard_normal(shape, dtype=np.float32).astype(dtype)
