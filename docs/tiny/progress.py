"""How a training run goes on: its learning rate, when it ends, what it prints."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from typing import Any

import torch


class Schedule:
    """Learning rate: up in `warm_up` steps, then down a half cosine, of which this run does the part from `span[0]` to
    `span[1]`, in `steps` steps if they are given, else in `minutes` by the clock. A clock makes other weights on every
    machine; steps make the same up to rounding."""

    def __init__(self, options: argparse.Namespace, warm_up: int):
        self.rate, self.steps, self.minutes, self.span = options.lr, options.steps, options.minutes, options.span
        self.warm_up, self.start = warm_up, time.time()

    @staticmethod
    def add_options(parser: argparse.ArgumentParser, minutes: float, rate: float) -> None:
        parser.add_argument("--lr", type=float, default=rate, help="the highest learning rate")
        parser.add_argument("--minutes", type=float, default=minutes, help="of this run")
        parser.add_argument("--steps", type=int, default=0, help="of this run, instead of minutes")
        parser.add_argument(
            "--span", type=float, nargs=2, default=(0.0, 1.0), help="the part of the schedule that this run does"
        )

    def elapsed(self) -> float:
        """Minutes."""
        return (time.time() - self.start) / 60

    def done(self, step: int, minutes: float) -> float:
        """Share of this run. `minutes`: those that all ranks agree on."""
        return step / self.steps if self.steps else minutes / self.minutes

    def set_rate(self, optimizer: torch.optim.Optimizer, step: int, done: float) -> float:
        """Gives the optimizer the learning rate of this step, and returns it."""
        progress = min(1.0, self.span[0] + done * (self.span[1] - self.span[0]))
        rate = self.rate * min(1, (step + 1) / self.warm_up) * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        return rate


class Sums:
    """Means over `every` steps of what is printed."""

    def __init__(self, every: int):
        self.every, self.count = every, 0
        self.sums: dict[str, Any] = {}
        self.sequences, self.waited, self.shown = 0, 0.0, time.time()

    def wait_for(self, batches: Iterator[Any]) -> Any:
        before = time.time()
        batch = next(batches)
        self.waited += time.time() - before
        return batch

    def add(self, parts: dict[str, torch.Tensor], sequences: int) -> dict[str, float] | None:
        """The line to print, after every `every` calls."""
        for key, value in parts.items():
            self.sums[key] = self.sums.get(key, 0) + value.detach()
        self.count, self.sequences = self.count + 1, self.sequences + sequences
        if self.count % self.every:
            return None
        took, waited = (round(t / self.every * 1000) for t in (time.time() - self.shown, self.waited))
        means = {key: round(float(value) / self.every, 4) for key, value in self.sums.items()}
        self.sums, self.waited, self.shown = {}, 0.0, time.time()
        return {"ms": took, "waited_ms": waited, "sequences": self.sequences, **means}
