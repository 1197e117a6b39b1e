"""What decoding takes on a card beside bytes: launches, synchronisations, copies and collectives, as counted on the
emulator of Ascend cards (assets/launch_counts.json, written by tests/ascend/count_launches.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ms_omni.limits import TOKENS_PER_CALL

COUNTS_FILE = Path(__file__).parents[1] / "assets" / "launch_counts.json"
# Of the released model; "predictor" is each of the code predictor's steps in a frame.
RELEASED_LAYERS = {"thinker": 48, "talker": 20, "predictor": 5, "code2wav": 8, "vision": 27, "audio": 32}
# What is counted, and on whose number of layers it depends.
UNITS = {
    "thinker_call_greedy": ("thinker",),
    "thinker_call_sampled": ("thinker",),
    "thinker_rows_greedy": ("thinker",),
    "thinker_rows_sampled": ("thinker",),
    "thinker_chunk_first": ("thinker",),
    "thinker_chunk_later": ("thinker",),
    "talker_frame_greedy": ("talker", "predictor"),
    "talker_frame_sampled": ("talker", "predictor"),
    "talker_chunk_first": ("talker",),
    "talker_chunk_later": ("talker",),
    "code2wav_piece_first": ("code2wav",),
    "code2wav_piece_later": ("code2wav",),
    "audio_encoder_1s": ("audio",),
    "audio_encoder_10s": ("audio",),
    "vision_encoder_picture": ("vision",),
}
LAUNCHES = ("aclnn", "internal", "aclop")
GAUGES = (
    *LAUNCHES, "synchronisations", "copies_to_card", "copies_from_card", "copies_on_card", "collectives",
)  # fmt: skip
# Precisions (--quantize) that were counted.
COUNTED_QUANTIZE = ("none", "int8", "int8-dynamic")
# Of a captured frame: casts and a concatenation
PACKING = 3
_GAUGE_OF_BEGINNING = {
    "aclnn": "aclnn",
    "internal": "internal",
    "aclop": "aclop",
    "synchronize": "synchronisations",
    "copy host to device": "copies_to_card",
    "copy device to host": "copies_from_card",
    "copy device to device": "copies_on_card",
    "hccl": "collectives",
}


def gauge_of(name: str) -> str | None:
    """The gauge that a name of the emulator's counts belongs to, such as "aclnn aclnnAdd"; None for other counts."""
    for beginning, gauge in _GAUGE_OF_BEGINNING.items():
        if name == beginning or name.startswith(beginning + " "):
            return gauge
    return None


@dataclass(frozen=True)
class Work:
    """Of one token or frame. legacy: those of the launches that go through operators compiled for their shapes
    (aclop). replays: of captured launches, `replayed` operators together."""

    launches: float
    legacy: float
    synchronisations: float
    copies: float
    collectives: float
    replays: float = 0.0
    replayed: float = 0.0

    def captured(self, layers: int, packing: int = 0) -> Work:
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
        """What was counted in a precision, one of COUNTED_QUANTIZE, by way to share the model."""
        return self.document["ways"] if quantize == "none" else self.document["quantized"][quantize]

    def gauge(self, mode: str, unit: str, gauge: str, layers: Mapping[str, int], quantize: str = "none") -> int:
        """layers: by the parts that UNITS names for `unit`."""
        row = self.ways(quantize)[mode]["units"][unit].get(gauge, {"fixed": 0})
        return sum(each * (1 if part == "fixed" else layers[part]) for part, each in row.items())

    def work(self, mode: str, unit: str, layers: Mapping[str, int], pieces: int = 1, quantize: str = "none") -> Work:
        """A unit's, divided by the `pieces` that it makes."""
        found = {gauge: self.gauge(mode, unit, gauge, layers, quantize) / pieces for gauge in GAUGES}
        return Work(
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


def thinker_token(text: Any, mode: str, batch: int = 1, is_captured: bool = False, quantize: str = "none") -> Work:
    """A greedy one of each of `batch` conversations. The host waits once for TOKENS_PER_CALL tokens of a conversation
    that is alone, and for each token of several, however many. text: the Thinker's text_config. is_captured: with
    captured launches, whose graph samples. quantize: one of COUNTED_QUANTIZE."""
    layers, way = {"thinker": text.num_hidden_layers}, "sampled" if is_captured else "greedy"
    if batch == 1:
        work = launch_counts().work(mode, f"thinker_call_{way}", layers, TOKENS_PER_CALL, quantize)
    else:
        work = launch_counts().work(mode, f"thinker_rows_{way}", layers, quantize=quantize)
    return work.captured(text.num_hidden_layers) if is_captured else work


def talker_frame(talker: Any, mode: str, is_captured: bool = False, quantize: str = "none") -> Work:
    """A sampled one of each conversation, as released: a step of the Talker and 16 of the code predictor. talker:
    talker_config. is_captured: with captured launches. quantize: one of COUNTED_QUANTIZE."""
    layers = {
        "talker": talker.text_config.num_hidden_layers,
        "predictor": talker.code_predictor_config.num_hidden_layers,
    }
    work = launch_counts().work(mode, "talker_frame_sampled", layers, quantize=quantize)
    return work.captured(layers["talker"], PACKING) if is_captured else work
