"""Bytes of weights on a card, by part of the model: the shard table applied to every weight of a configuration."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from ms_omni.checkpoint.int8 import SCALE, is_quantized
from ms_omni.checkpoint.weight_specs import weight_specs
from ms_omni.parallel.sizes import TALKER, THINKER, ModelSizes
from ms_omni.parallel.table import EXPERTS, applied_rule, expert_range, padded_shape
from ms_omni.planning.precision import Precision

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
    """How often each (name, shape) occurs, where the numbers of layers, experts and code groups are replaced by 0. A
    released model has 28,010 weights of some hundred kinds."""
    return Counter((_NUMBER.sub(".0.", spec.name), spec.shape) for spec in weight_specs(config))


def weight_bytes(
    counts: Counts, sizes: ModelSizes, mode: str, cards: int, precision: Precision, speak: bool
) -> dict[str, int]:
    """Bytes of each of PARTS on the card that stores most, rank 0, padding included, and scales with their weights.
    counts: of `weight_counts`. speak: with Talker, code predictor and Code2Wav."""

    def stored(name: str, shape: tuple[int, ...], count: int) -> int:
        """Values of all weights of this kind."""
        values = math.prod(padded_shape(name, shape, mode, cards, sizes)) * count
        if applied_rule(name, shape, mode, cards, sizes).kind != EXPERTS:
            return values
        num_experts = sizes.decoders[TALKER if name.startswith(TALKER) else THINKER].num_experts
        return values * len(expert_range(num_experts, 0, cards)) // num_experts

    total = dict.fromkeys(PARTS, 0)
    for (name, shape), count in counts.items():
        part = part_of(name)
        if part in SPEECH_PARTS and not speak:
            continue
        is_int8 = precision.is_int8 and is_quantized(name)
        total[part] += stored(name, shape, count) * (precision.weight if is_int8 else precision.itemsize)
        if is_int8:
            total[part] += stored(name + SCALE, (shape[0], 1), count) * precision.scale
    return total
