"""Bytes of weights on a card, by part of the model: the shard table applied to every weight of a configuration."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from ms_omni.checkpoint.weight_specs import weight_specs
from ms_omni.parallel.sizes import TALKER, THINKER, ModelSizes
from ms_omni.parallel.table import EXPERTS, applied_rule, expert_range, padded_shape

PARTS = (
    "thinker experts", "thinker layers", "embeddings and head", "audio encoder", "vision encoder",
    "talker", "code predictor", "code2wav",
)  # fmt: skip
SPEECH_PARTS = ("talker", "code predictor", "code2wav")
_PREFIXES = (
    ("thinker.audio_tower.", "audio encoder"),
    ("thinker.visual.", "vision encoder"),
    ("thinker.model.embed_tokens.", "embeddings and head"),
    ("thinker.lm_head.", "embeddings and head"),
    ("thinker.model.", "thinker layers"),
    ("talker.code_predictor.", "code predictor"),
    ("talker.", "talker"),
    ("code2wav.", "code2wav"),
)
_NUMBER = re.compile(r"\.\d+\.")

Counts = Counter[tuple[str, tuple[int, ...]]]


def part_of(name: str) -> str:
    """The entry of PARTS that a weight belongs to."""
    if name.startswith("thinker.model.layers.") and ".mlp.experts." in name:
        return "thinker experts"
    return next(part for prefix, part in _PREFIXES if name.startswith(prefix))


def weight_counts(config: Any) -> Counts:
    """How often each (name, shape) occurs, all layers, experts and code groups under the number 0: a released model
    has 28,010 weights of some hundred kinds."""
    return Counter((_NUMBER.sub(".0.", spec.name), spec.shape) for spec in weight_specs(config))


def weight_bytes(
    counts: Counts, sizes: ModelSizes, mode: str, cards: int, itemsize: int, speak: bool
) -> dict[str, int]:
    """Bytes of each of PARTS on the card that stores most, rank 0, padding included. counts: of `weight_counts`.
    itemsize: bytes of a value. speak: with Talker, code predictor and Code2Wav."""
    total = dict.fromkeys(PARTS, 0)
    for (name, shape), count in counts.items():
        part = part_of(name)
        if part in SPEECH_PARTS and not speak:
            continue
        values = math.prod(padded_shape(name, shape, mode, cards, sizes)) * count
        if applied_rule(name, shape, mode, cards, sizes).kind == EXPERTS:
            num_experts = sizes.decoders[TALKER if name.startswith(TALKER) else THINKER].num_experts
            values = values * len(expert_range(num_experts, 0, cards)) // num_experts
        total[part] += values * itemsize
    return total
