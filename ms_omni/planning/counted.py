"""Launches, synchronisations, copies and collectives of decoding. Those of the fused engine were counted on the
emulator of Ascend cards (assets/launch_counts.json, written by tests/ascend/count_launches.py), those of mindone's own
generate in the source of its 0.5.0 release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ms_omni.limits import TOKENS_PER_CALL

COUNTS_FILE = Path(__file__).parents[1] / "assets" / "launch_counts.json"
LAUNCHES = ("aclnn", "internal", "aclop")
GAUGES = (
    *LAUNCHES, "synchronisations", "copies_to_card", "copies_from_card", "copies_on_card", "collectives",
)  # fmt: skip
# Of a captured frame: casts and a concatenation
PACKING = 3


@dataclass(frozen=True)
class StepCounts:
    """Of one token or frame. legacy: those of the launches that go through operators compiled for their shapes
    (aclop). replays: of captured launches, `replayed` operators together."""

    launches: float
    legacy: float
    synchronisations: float
    copies: float
    collectives: float
    replays: float = 0.0
    replayed: float = 0.0

    def captured(self, layers: int, packing: int = 0) -> StepCounts:
        """The same with captured launches: the attentions of `layers` stay outside, and collectives; between them,
        before and after are replays. packing: launches that bring what a graph returns into one tensor, and as many
        outside that take it apart. (tests/ascend/test_ascend_launches.py counts them.)"""
        return replace(
            self,
            launches=layers + packing,
            replays=layers + self.collectives + 1,
            replayed=self.launches - layers + packing,
        )


@dataclass(frozen=True)
class LaunchCounts:
    """A document of counts: "ways" without 8-bit weights, "quantized" by precision the same with them. A way to share a
    model is counted with two ranks: more take the same."""

    document: Mapping[str, Any]

    def ways(self, quantize: str = "none") -> Mapping[str, Any]:
        """What was counted in a precision (none, int8 or int8-dynamic), by way to share the model."""
        return self.document["ways"] if quantize == "none" else self.document["quantized"][quantize]

    def gauge(self, mode: str, unit: str, gauge: str, layers: Mapping[str, int], quantize: str = "none") -> int:
        """layers: how many there are of each part that `unit` depends on."""
        row = self.ways(quantize)[mode]["units"][unit].get(gauge, {"fixed": 0})
        return sum(each * (1 if part == "fixed" else layers[part]) for part, each in row.items())

    def work(
        self, mode: str, unit: str, layers: Mapping[str, int], pieces: int = 1, quantize: str = "none"
    ) -> StepCounts:
        """The counts of a unit, divided by the `pieces` that it makes."""
        found = {gauge: self.gauge(mode, unit, gauge, layers, quantize) / pieces for gauge in GAUGES}
        return StepCounts(
            launches=sum(found[kind] for kind in LAUNCHES),
            legacy=found["aclop"],
            synchronisations=found["synchronisations"],
            copies=found["copies_to_card"] + found["copies_from_card"],
            collectives=found["collectives"],
        )

    @property
    def source(self) -> str:
        """One line: on what was counted."""
        return f"counted on {self.document['counted_on']}, MindSpore {self.document['mindspore']}"


@cache
def launch_counts() -> LaunchCounts:
    """Those that the package has."""
    return LaunchCounts(json.loads(COUNTS_FILE.read_text(encoding="utf-8")))


def thinker_token(
    text: Any, mode: str, batch: int = 1, is_captured: bool = False, quantize: str = "none"
) -> StepCounts:
    """A greedy token of each of `batch` conversations. The host waits once for TOKENS_PER_CALL tokens of a single
    conversation, and for each token of several, however many. text: the Thinker's text_config. is_captured: with
    captured launches, whose graph samples. quantize: none, int8 or int8-dynamic."""
    layers, way = {"thinker": text.num_hidden_layers}, "sampled" if is_captured else "greedy"
    if batch == 1:
        work = launch_counts().work(mode, f"thinker_call_{way}", layers, TOKENS_PER_CALL, quantize)
    else:
        work = launch_counts().work(mode, f"thinker_rows_{way}", layers, quantize=quantize)
    return work.captured(text.num_hidden_layers) if is_captured else work


def talker_frame(talker: Any, mode: str, is_captured: bool = False, quantize: str = "none") -> StepCounts:
    """A sampled frame of each conversation, as released: a step of the Talker and 16 of the code predictor. talker:
    talker_config. is_captured: with captured launches. quantize: none, int8 or int8-dynamic."""
    layers = {
        "talker": talker.text_config.num_hidden_layers,
        "predictor": talker.code_predictor_config.num_hidden_layers,
    }
    work = launch_counts().work(mode, "talker_frame_sampled", layers, quantize=quantize)
    return work.captured(layers["talker"], PACKING) if is_captured else work


@dataclass(frozen=True)
class EagerCounts:
    """What mindone launches from Python for one token or frame. gathers: one for each Linear that is used, with
    prepare_network's ZeRO-3. syncs: places where the host waits for a value."""

    launches: int
    gathers: int
    syncs: int


# Of mindone 0.5.0. RMSNorm: two casts, pow, mean, add, rsqrt, two products. Views are not counted.
_NORM = 8
# Two layer norms, q and k norm, four projections, rotary (q and k: two products, negation, concatenation, sum), two
# cache updates, flash attention with its transposed copies, two residual sums.
_ATTENTION = 4 * _NORM + 4 + 10 + 2 + 5 + 2
_MLP = 5
# Router, softmax with a cast, topk, sum, division, cast, zeros, one_hot, sum, greater, nonzero.
_ROUTING = 12
# An expert: item, mask row, where, rows in, three projections, silu and product, its weights, a product, index_add.
_EXPERT = 12
_SYNCS_PER_EXPERT = 1


def eager_thinker(text: Any) -> EagerCounts:
    """One token. text: the Thinker's text_config. 1,393 gathers on the released model."""
    layers, top_k = text.num_hidden_layers, text.num_experts_per_tok
    return EagerCounts(
        launches=layers * (_ATTENTION + _ROUTING + top_k * _EXPERT) + _NORM + 50,
        gathers=layers * (4 + 1 + 3 * top_k) + 1,
        syncs=layers * top_k * _SYNCS_PER_EXPERT,
    )


def eager_talker(talker: Any) -> EagerCounts:
    """One frame: a step of the Talker and 15 of the code predictor, whose generate() is called anew for each frame."""
    text, predictor = talker.text_config, talker.code_predictor_config
    layers, top_k, steps = text.num_hidden_layers, text.num_experts_per_tok, talker.num_code_groups - 1
    shared = _MLP + 4
    step = predictor.num_hidden_layers * (_ATTENTION + _MLP) + _NORM + 50
    return EagerCounts(
        launches=layers * (_ATTENTION + _ROUTING + top_k * _EXPERT + shared) + _NORM + 50 + steps * step,
        gathers=layers * (4 + 1 + 3 * top_k + 4) + 1 + steps * (7 * predictor.num_hidden_layers + 1),
        syncs=layers * top_k * _SYNCS_PER_EXPERT + steps,
    )
