"""Runs checks one after the other: takes their time, writes down what they found, and goes on after failures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ms_omni.acceptance.findings import ERROR, SKIPPED, Check, Finding, Skipped
from ms_omni.acceptance.journal import Journal
from ms_omni.acceptance.messages import message_of
from ms_omni.parallel.world import World

RESTART_CODE = 77  # the device of this process is lost; a new process may have it again


@dataclass
class Bench:
    """device: "Ascend" (or "CPU" in tests). done: (step, check) of those that an earlier process has done. restarts:
    whether somebody starts this process anew where its device is lost."""

    journal: Journal
    device: str
    quick: bool = False
    world: World = field(default_factory=World)
    done: frozenset[tuple[str, str]] = frozenset()
    restarts: bool = False
    step: str = ""
    _lost_since: str = ""

    def check(self, name: str, work: Callable[[], Finding | None]) -> None:
        """`work` compares or measures, and returns what it found; what it raises is found as well."""
        if (self.step, name) in self.done:
            return
        self.journal.begin(self.step, name)
        start = time.perf_counter()
        if self._lost_since:
            reason = f"the device does not answer since {self._lost_since}"
            self.journal.check(Check(self.step, name, SKIPPED, 0.0, message=reason))
            return
        try:
            found = work() or Finding()
            self._settle()
            check = Check.of(self.step, name, round(time.perf_counter() - start, 3), found)
        except Skipped as reason:
            check = Check(self.step, name, SKIPPED, 0.0, message=str(reason))
        except Exception as error:
            seconds = round(time.perf_counter() - start, 3)
            check = Check(self.step, name, ERROR, seconds, message=self._said(error))
        self.journal.check(check)
        if check.verdict == ERROR and not self._answers():
            self._lose(name)

    def _said(self, error: Exception) -> str:
        """Its words, and those of the device: launches are asynchronous, so that what was raised may only follow from
        an error that shows when the device is waited for."""
        said = message_of(error)
        try:
            self._settle()
        except Exception as earlier:
            words = message_of(earlier)
            return said if words in said else f"{words}\nthen {said}"
        return said

    def _settle(self) -> None:
        """What the device still does belongs to this check, and so do its errors."""
        import mindspore as ms

        ms.runtime.synchronize()

    def _answers(self) -> bool:
        """Whether the device still computes: after some errors nothing works any more in the same process."""
        import mindspore as ms
        import numpy as np

        try:
            self._settle()
            return bool((ms.Tensor(np.array([1.0, 2.0], np.float32)) + 1).asnumpy().tolist() == [2.0, 3.0])
        except Exception:
            return False

    def _lose(self, name: str) -> None:
        if self.restarts:
            os._exit(RESTART_CODE)
        self._lost_since = f"{self.step}, {name}"


def random(seed: Any, *shape: int, dtype: Any) -> Any:
    """Normally distributed values in a numpy dtype: the same for a seed on every machine."""
    import numpy as np

    words = [ord(letter) for letter in str(seed)]
    return np.random.default_rng([*words, *shape]).standard_normal(shape, dtype=np.float32).astype(dtype)
