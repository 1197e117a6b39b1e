"""Code2Wav's transformer on the CPU, in numpy: a sliding window of keys and values, and the frames that are new."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ms_omni.kernels.cpu_arrays import float32_array
from ms_omni.kernels.numpy_activations import softmax_sums
from ms_omni.kernels.numpy_encoder import Linear
from ms_omni.kernels.numpy_math import silu

ROWS_AT_ONCE = 128  # queries that attend together: with a window of 72, as many keys and 71 more
HIDDEN_SCORE = np.float32(-1e30)


class TransformerState:
    """Of every stream of a batch, how many frames it has had, int64 (batch,), and for each layer the keys (rotated) and
    values of the last window, (batch, kv_heads, window - 1, dim)."""

    def __init__(self, batch: int, num_layers: int, kv_heads: int, seen: int, dim: int):
        self.num_frames = np.zeros(batch, np.int64)
        shape = (num_layers, batch, kv_heads, seen, dim)
        self.keys, self.values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)


class CodecTransformer:
    """mindone's Qwen3OmniMoeCode2WavTransformerModel, whose weights it reads. parts: make and keep its layers."""

    def __init__(self, model: Any, parts: Callable[..., Any]):
        config, rotary = model.config, model.rotary_emb
        self.layers, self.parts = model.layers, parts
        self.norm, self.eps = float32_array(model.norm.weight), model.norm.variance_epsilon
        self.inv_freq, self.rotary_scale = float32_array(rotary.inv_freq), np.float32(rotary.attention_scaling)
        self.kv_heads, self.seen = config.num_key_value_heads, config.sliding_window - 1

    def new_state(self, batch: int) -> TransformerState:
        return TransformerState(batch, len(self.layers), self.kv_heads, self.seen, 2 * self.inv_freq.size)

    def __call__(self, x: np.ndarray, state: TransformerState) -> np.ndarray:
        """x: float32 (batch, frames, hidden), the next ones, changed; state: brought up to date. The same shape."""
        places = state.num_frames[:, None] + np.arange(x.shape[1])
        angles = places[:, None, :, None].astype(np.float32) * self.inv_freq
        cos, sin = np.cos(angles) * self.rotary_scale, np.sin(angles) * self.rotary_scale
        rotary = (np.concatenate([cos, cos], -1), np.concatenate([-sin, sin], -1))
        for index, (cell, keys, values) in enumerate(zip(self.layers, state.keys, state.values, strict=True)):
            layer = self.parts(f"layer.{index}", _Layer, cell, self.seen)
            layer(x, rotary, keys, values, state.num_frames)
        state.num_frames += x.shape[1]
        return _rms_norm(x, self.norm, self.eps)


class _Layer:
    def __init__(self, layer: Any, seen: int):
        attention, mlp = layer.self_attn, layer.mlp
        self.projections = [Linear(part) for part in (attention.q_proj, attention.k_proj, attention.v_proj)]
        self.out, self.scale, self.dim = Linear(attention.o_proj), np.float32(attention.scaling), attention.head_dim
        self.gate, self.up, self.down = (Linear(part) for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj))
        norms = (layer.input_layernorm, layer.post_attention_layernorm)
        self.norms = [(float32_array(norm.weight), norm.variance_epsilon) for norm in norms]
        scales = (layer.self_attn_layer_scale, layer.mlp_layer_scale)
        self.scales = [float32_array(scale.scale) for scale in scales]
        self.seen = seen

    def __call__(
        self,
        x: np.ndarray,
        rotary: tuple[np.ndarray, np.ndarray],
        keys: np.ndarray,
        values: np.ndarray,
        num_before: np.ndarray,
    ) -> None:
        """x, and the keys and values of the frames before, are changed."""
        inner = self._attention(_rms_norm(x, *self.norms[0]), rotary, keys, values, num_before)
        inner *= self.scales[0]
        x += inner
        normed = _rms_norm(x, *self.norms[1])
        inner = silu(self.gate(normed))
        inner *= self.up(normed)
        inner = self.down(inner)
        inner *= self.scales[1]
        x += inner

    def _attention(
        self,
        x: np.ndarray,
        rotary: tuple[np.ndarray, np.ndarray],
        old_keys: np.ndarray,
        old_values: np.ndarray,
        num_before: np.ndarray,
    ) -> np.ndarray:
        """x: (batch, frames, hidden). The same shape. A frame sees itself and the `seen` before it."""
        batch, frames, _ = x.shape
        query, key, value = (
            part(x).reshape(batch, frames, -1, self.dim).transpose(0, 2, 1, 3) for part in self.projections
        )
        keys = np.concatenate([old_keys, _rotated(key, rotary)], axis=2)
        values = np.concatenate([old_values, value], axis=2)
        old_keys[...], old_values[...] = keys[:, :, frames:], values[:, :, frames:]
        kv_heads = keys.shape[1]
        query = _rotated(query, rotary).reshape(batch, kv_heads, -1, frames, self.dim)
        query *= self.scale
        out = np.empty((batch, frames, query.shape[1] * query.shape[2], self.dim), np.float32)
        for start in range(0, frames, ROWS_AT_ONCE):
            end = min(start + ROWS_AT_ONCE, frames)
            here = slice(start, end + self.seen)
            scores = np.matmul(query[:, :, :, start:end], keys[:, :, None, here].swapaxes(-1, -2))
            scores += _band(end - start, self.seen)
            for row, before in enumerate(num_before.tolist()):
                scores[row, ..., : max(0, self.seen - before - start)] = HIDDEN_SCORE
            total = softmax_sums(scores)
            part = np.matmul(scores, values[:, :, None, here])
            part /= total
            out[:, start:end] = part.reshape(batch, -1, end - start, self.dim).transpose(0, 2, 1, 3)
        return self.out(out.reshape(batch, frames, -1))


@lru_cache(4)  # every layer of a piece asks for the same ones
def _band(rows: int, seen: int) -> np.ndarray:
    """(rows, seen + rows): 0 where query i sees key j, the keys beginning `seen` before the queries."""
    ahead = np.arange(seen + rows) - np.arange(rows)[:, None]
    return np.where((ahead >= 0) & (ahead <= seen), np.float32(0), HIDDEN_SCORE)


def _rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """Over the last axis."""
    squares = np.einsum("...i,...i->...", x, x)[..., None] / np.float32(x.shape[-1])
    return x / np.sqrt(squares + np.float32(eps)) * weight


def _rotated(heads: np.ndarray, rotary: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """heads: (batch, heads, frames, dim). Source: `apply_rotary_pos_emb` of transformers 4.57.1; the signs of its
    rotate_half are in the sines."""
    cos, signed_sin = rotary
    half = heads.shape[-1] // 2
    out = heads * cos
    out[..., :half] += heads[..., half:] * signed_sin[..., :half]
    out[..., half:] += heads[..., :half] * signed_sin[..., half:]
    return out
