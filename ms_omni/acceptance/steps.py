"""The table of steps: their order, and the module of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from ms_omni.acceptance.bench import Bench


@dataclass(frozen=True)
class Step:
    """name: for --only. module: in this package; its `run(bench)` makes the checks."""

    name: str
    title: str
    module: str

    def load(self) -> Callable[[Bench], None]:
        """The module's `run`; imports MindSpore."""
        return import_module(f"ms_omni.acceptance.{self.module}").run


STEPS = (
    Step("machine", "card, driver, CANN, MindSpore, host", "machine_facts"),
    Step("operators", "each operator at the released model's sizes, against numpy", "operator_checks"),
    Step("int8", "operators of 8-bit weights at the released model's sizes, against numpy", "int8_checks"),
    Step("layer", "one layer of each decoder, a prompt and a token in its graph, against numpy", "layer_checks"),
    Step("chunks", "a prompt in chunks, against the whole prompt", "chunk_checks"),
    Step("sampling", "the next token: greedy, top-k, top-p, repetition", "sampling_checks"),
    Step("memory", "caches written and read, views with an offset", "memory_checks"),
    Step("collectives", "between the cards, in all and in two groups", "collective_checks"),
    Step("encoders", "picture, sound and wave, against recorded values", "encoder_checks"),
    Step("answers", "the built-in tiny model's answers in text and speech", "answer_checks"),
    Step("speed", "a small profile of this card", "speed_checks"),
)
NAMES = tuple(step.name for step in STEPS)
