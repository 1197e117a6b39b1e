"""Code2Wav's transformer on the CPU, in numpy, with a sliding window of keys and values for each stream.

The frames of several streams are concatenated; `lengths` says how many each has. All but attention is computed for all
of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ms_omni.kernels.cpu_arrays import float32_array
from ms_omni.kernels.numpy_activations import softmax_sums
from ms_omni.kernels.numpy_attention import HIDDEN_SCORE
from ms_omni.kernels.numpy_conv import spans
from ms_omni.kernels.numpy_encoder import Linear
from ms_omni.kernels.numpy_math import rms_norm, rotary_of, rotate, silu

ROWS_AT_ONCE = 128  # queries that attend together: with a window of 72, as many keys and 71 more


class TransformerState:
    """The state of a stream: the number of frames so far, and ring buffers of the last window's keys (rotated) and
    values, float32 (layers, window, kv_heads, dim): frame n has place n % window."""

    def __init__(self, num_layers: int, window: int, kv_heads: int, dim: int):
        self.num_frames = 0
        shape = (num_layers, window, kv_heads, dim)
        self.keys, self.values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)


class CodecTransformer:
    """mindone's Qwen3OmniMoeCode2WavTransformerModel, whose weights it reads. parts: a `Parts` of the model."""

    def __init__(self, model: Any, parts: Callable[..., Any]):
        config, rotary = model.config, model.rotary_emb
        self.layers, self.parts = model.layers, parts
        self.norm, self.eps = float32_array(model.norm.weight), model.norm.variance_epsilon
        self.inv_freq, self.rotary_scale = float32_array(rotary.inv_freq), np.float32(rotary.attention_scaling)
        self.kv_heads, self.window = config.num_key_value_heads, config.sliding_window

    def new_state(self) -> TransformerState:
        """Of a stream that has not begun."""
        return TransformerState(len(self.layers), self.window, self.kv_heads, 2 * self.inv_freq.size)

    def __call__(self, x: np.ndarray, lengths: Sequence[int], states: Sequence[TransformerState]) -> np.ndarray:
        """x: float32 (frames, hidden), the next frames of each stream; overwritten. states: updated. Returns the same
        shape."""
        places = np.concatenate(
            [state.num_frames + np.arange(length) for state, length in zip(states, lengths, strict=True)]
        )
        cos, sin = rotary_of(places[:, None].astype(np.float32) * self.inv_freq)
        rotary = cos * self.rotary_scale, sin * self.rotary_scale
        for index, cell in enumerate(self.layers):
            layer = self.parts(f"layer.{index}", _Layer, cell, self.window - 1)
            layer(x, rotary, lengths, [(state.keys[index], state.values[index], state.num_frames) for state in states])
        for state, length in zip(states, lengths, strict=True):
            state.num_frames += length
        return rms_norm(x, self.norm, self.eps)


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
        lengths: Sequence[int],
        rings: Sequence[tuple[np.ndarray, np.ndarray, int]],
    ) -> None:
        """x: overwritten. rings: keys and values of each stream, (window, kv_heads, dim), updated, and its number of
        frames so far."""
        frames = len(x)
        normed = rms_norm(x, *self.norms[0])
        query, key, value = (part(normed).reshape(frames, -1, self.dim) for part in self.projections)
        query, key = rotate(query, rotary), rotate(key, rotary)
        query *= self.scale
        attended = np.empty_like(query)
        for (start, end), (keys, values, before) in zip(spans(lengths), rings, strict=True):
            here = slice(start, end)
            self._attend(
                query[here],
                _with_ring(keys, key[here], before, self.seen),
                _with_ring(values, value[here], before, self.seen),
                before,
                attended[here],
            )
        inner = self.out(attended.reshape(frames, -1))
        inner *= self.scales[0]
        x += inner
        normed = rms_norm(x, *self.norms[1])
        inner = silu(self.gate(normed))
        inner *= self.up(normed)
        inner = self.down(inner)
        inner *= self.scales[1]
        x += inner

    def _attend(self, query: np.ndarray, keys: np.ndarray, values: np.ndarray, before: int, out: np.ndarray) -> None:
        """query, out: (frames, heads, dim) of one stream; keys, values: (seen + frames, kv_heads, dim). A frame sees
        itself and the `seen` before it."""
        frames, kv_heads = len(query), keys.shape[1]
        query = query.reshape(frames, kv_heads, -1, self.dim).transpose(1, 2, 0, 3)
        keys, values = keys.transpose(1, 2, 0)[:, None], values.transpose(1, 0, 2)[:, None]
        for start in range(0, frames, ROWS_AT_ONCE):
            end = min(start + ROWS_AT_ONCE, frames)
            here = slice(start, end + self.seen)
            scores = np.matmul(query[:, :, start:end], keys[..., here])
            scores += _band(end - start, self.seen)
            scores[..., : max(0, self.seen - before - start)] = HIDDEN_SCORE
            total = softmax_sums(scores)
            part = np.matmul(scores, values[:, :, here])
            part /= total
            out[start:end] = part.transpose(2, 0, 1, 3).reshape(end - start, -1, self.dim)


def _with_ring(ring: np.ndarray, new: np.ndarray, before: int, seen: int) -> np.ndarray:
    """ring: (window, ...), of the `before` frames of a stream; updated. Returns its last `seen` rows in the order of
    their frames, followed by the new ones."""
    window, frames = len(ring), len(new)
    rows = np.empty((seen + frames, *new.shape[1:]), np.float32)
    rows[:seen] = ring[(before - seen + np.arange(seen)) % window]
    rows[seen:] = new
    last = np.arange(max(0, frames - window), frames)
    ring[(before + last) % window] = new[last]
    return rows


@lru_cache(4)  # every layer of a piece asks for the same ones
def _band(rows: int, seen: int) -> np.ndarray:
    """(rows, seen + rows): 0 where query i sees key j, else HIDDEN_SCORE. The keys begin `seen` before the queries."""
    ahead = np.arange(seen + rows) - np.arange(rows)[:, None]
    return np.where((ahead >= 0) & (ahead <= seen), np.float32(0), HIDDEN_SCORE)
