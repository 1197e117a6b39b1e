"""One decoder layer and the norm behind it in float64, over a whole prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ms_omni.acceptance import formulas
from ms_omni.acceptance.compare import array_of
from ms_omni.runtime.decoder_spec import DecoderSpec


@dataclass(frozen=True)
class LayerOutput:
    """normed: (tokens, hidden). margin: of each token, how far the logit of its last chosen expert is above the next
    expert's, relative to the largest logit; infinite without experts. Where it is small, a rounding may choose the
    other expert."""

    normed: np.ndarray
    margin: np.ndarray


def whole_layer(checkpoint: Any, prefix: str, spec: DecoderSpec, x: np.ndarray, positions: np.ndarray) -> LayerOutput:
    """checkpoint: reads weights by name. prefix: of the decoder's names. x: (tokens, hidden). positions: (tokens,), or
    (3, tokens)."""

    def weight(name: str) -> np.ndarray:
        return array_of(checkpoint.read(f"{prefix}layers.0.{name}.weight"))

    x = array_of(x)
    eps = spec.rms_norm_eps
    normed = formulas.rms_norm(x, weight("input_layernorm"), eps)
    x = x + _attention(weight, spec, normed, positions)
    normed = formulas.rms_norm(x, weight("post_attention_layernorm"), eps)
    added, margin = _feed_forward(checkpoint, prefix, weight, spec, normed)
    final = array_of(checkpoint.read(f"{prefix}norm.weight"))
    return LayerOutput(formulas.rms_norm(x + added, final, eps), margin)


def _attention(weight: Any, spec: DecoderSpec, normed: np.ndarray, positions: np.ndarray) -> np.ndarray:
    q, k, v = ((normed @ weight(f"self_attn.{name}_proj").T).reshape(len(normed), -1, spec.head_dim) for name in "qkv")
    angles = formulas.rotary_angles(positions, spec.head_dim, spec.rope_theta, spec.mrope_section)
    q = formulas.rotate(formulas.rms_norm(q, weight("self_attn.q_norm"), spec.rms_norm_eps), angles)
    k = formulas.rotate(formulas.rms_norm(k, weight("self_attn.k_norm"), spec.rms_norm_eps), angles)
    attended = formulas.attention(q, k, v, spec.head_dim**-0.5)
    return attended.reshape(len(normed), -1) @ weight("self_attn.o_proj").T


def _feed_forward(
    checkpoint: Any, prefix: str, weight: Any, spec: DecoderSpec, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if not spec.num_experts:
        return _dense(weight, "mlp.", x), np.full(len(x), np.inf)
    logits = x @ weight("mlp.gate").T
    chosen, shares = formulas.route(logits, spec.experts_per_token, spec.normalize_experts)
    gate_up, down = (
        _Experts(checkpoint, f"{prefix}layers.0.mlp.experts.", names)
        for names in (("gate_proj", "up_proj"), ("down_proj",))
    )
    added = formulas.experts(x, shares, chosen, gate_up, down)
    if spec.shared_expert:
        share = 1 / (1 + np.exp(-(x @ weight("mlp.shared_expert_gate").T)))
        added = added + share * _dense(weight, "mlp.shared_expert.", x)
    falling = -np.sort(-logits, axis=-1)
    last = spec.experts_per_token - 1
    return added, (falling[:, last] - falling[:, last + 1]) / np.abs(logits).max()


def _dense(weight: Any, prefix: str, x: np.ndarray) -> np.ndarray:
    gate_up = np.concatenate([weight(f"{prefix}gate_proj"), weight(f"{prefix}up_proj")])
    return formulas.swiglu(x @ gate_up.T) @ weight(f"{prefix}down_proj").T


class _Experts:
    """Matrices of a layer's experts, read one by one: `experts[i]`."""

    def __init__(self, checkpoint: Any, prefix: str, names: tuple[str, ...]):
        self._checkpoint, self._prefix, self._names = checkpoint, prefix, names

    def __getitem__(self, number: int) -> np.ndarray:
        return np.concatenate([self._checkpoint.read(f"{self._prefix}{number}.{name}.weight") for name in self._names])
