"""Sizes of a decoder, read off transformers' configs: Thinker, Talker and code predictor are three of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# of transformers 4.57.1, for a config that names none
DEFAULT_MROPE_SECTION = (24, 20, 20)


@dataclass(frozen=True)
class DecoderSpec:
    """dense_layers: have one dense feed-forward network instead of experts. mrope_section None: one-axis rotary
    positions. shared_expert: a dense expert beside the routed ones, behind a sigmoid gate."""

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    mrope_section: tuple[int, ...] | None = None
    num_experts: int = 0
    experts_per_token: int = 0
    normalize_experts: bool = False
    shared_expert: bool = False
    dense_layers: frozenset[int] = frozenset()
    has_bias: bool = False

    @classmethod
    def from_config(cls, config: Any) -> DecoderSpec:
        """config: a text_config of Thinker or Talker, or a code_predictor_config. Raises ValueError for activations
        other than silu and for scaled rotary positions."""
        num_experts = int(getattr(config, "num_experts", 0) or 0)
        scaling = config.rope_scaling or {}
        if scaling.get("rope_type", scaling.get("type", "default")) not in ("default", "mrope"):
            raise ValueError(f"rope_scaling {scaling}: only the default rotary positions are known")
        if config.hidden_act != "silu":
            raise ValueError(f"activation {config.hidden_act}: only silu is known")
        dense = set(range(config.num_hidden_layers)) if not num_experts else set()
        if config.model_type == "qwen3_omni_moe_text":  # the Talker's classes pass over these two settings
            dense |= {i for i in range(config.num_hidden_layers) if (i + 1) % config.decoder_sparse_step}
            dense |= set(config.mlp_only_layers or ())
        section = scaling.get("mrope_section", DEFAULT_MROPE_SECTION) if num_experts else None
        return cls(
            hidden_size=config.hidden_size,
            num_layers=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            num_kv_heads=config.num_key_value_heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            rms_norm_eps=config.rms_norm_eps,
            rope_theta=config.rope_theta,
            mrope_section=tuple(section) if section else None,
            num_experts=num_experts,
            experts_per_token=config.num_experts_per_tok if num_experts else 0,
            normalize_experts=bool(config.norm_topk_prob) if num_experts else False,
            shared_expert=bool(num_experts and getattr(config, "shared_expert_intermediate_size", 0)),
            dense_layers=frozenset(dense),
            has_bias=bool(config.attention_bias),
        )

    @property
    def inv_freq(self) -> np.ndarray:
        """float32, (head_dim / 2,)."""
        exponents = np.arange(0, self.head_dim, 2, dtype=np.float32) / np.float32(self.head_dim)
        return (np.float32(1.0) / np.float32(self.rope_theta) ** exponents).astype(np.float32)

    def angles(self, positions: np.ndarray) -> np.ndarray:
        """float32 rotary angles (tokens, head_dim) of positions (tokens,) or, in time, height, width, (3, tokens).
        Three axes interleave: angle i takes height where i % 3 == 1 and width where i % 3 == 2, each up to three times
        its section, and time elsewhere (transformers 4.57.1 `apply_interleaved_mrope`)."""
        positions = np.asarray(positions, dtype=np.float32)
        if positions.ndim == 1:
            half = positions[:, None] * self.inv_freq
        else:
            by_axis = positions[:, :, None] * self.inv_freq
            half = by_axis[0].copy()
            for axis, offset in ((1, 1), (2, 2)):
                chosen = slice(offset, (self.mrope_section or (0, 0, 0))[axis] * 3, 3)
                half[:, chosen] = by_axis[axis][:, chosen]
        return np.concatenate([half, half], axis=1).astype(np.float32)
