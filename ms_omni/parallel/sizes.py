"""Heads and experts of each decoder: the sizes of a model that decide how its weights can be split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

THINKER, TALKER, PREDICTOR = "thinker.model.", "talker.model.", "talker.code_predictor.model."


@dataclass(frozen=True)
class DecoderSizes:
    """Sizes of one decoder. num_experts is 0 if every layer is dense."""

    num_heads: int
    num_kv_heads: int
    num_experts: int = 0

    def heads_divide(self, world_size: int) -> bool:
        """Whether every rank gets whole query heads, and whole key-value heads or equal copies of them."""
        few, many = sorted((self.num_kv_heads, world_size))
        return self.num_heads % world_size == 0 and many % few == 0


@dataclass(frozen=True)
class ModelSizes:
    """decoders: by the prefix of their weights' names; THINKER is always present."""

    decoders: Mapping[str, DecoderSizes]

    @classmethod
    def from_config(cls, config: Any) -> ModelSizes:
        """config: transformers' Qwen3OmniMoeConfig, or anything with its attributes."""
        decoders = {THINKER: _decoder(config.thinker_config.text_config)}
        if config.enable_audio_output:
            decoders[TALKER] = _decoder(config.talker_config.text_config)
            decoders[PREDICTOR] = _decoder(config.talker_config.code_predictor_config)
        return cls(decoders)

    def of(self, name: str) -> tuple[str, DecoderSizes] | None:
        """Prefix and sizes of the decoder that a weight belongs to; None for weights outside of decoders."""
        return next(((prefix, sizes) for prefix, sizes in self.decoders.items() if name.startswith(prefix)), None)


def _decoder(text: Any) -> DecoderSizes:
    return DecoderSizes(text.num_attention_heads, text.num_key_value_heads, int(getattr(text, "num_experts", 0) or 0))
