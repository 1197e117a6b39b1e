"""What the decoder's operators compute, in float64, written from the model's definition and not from other code.

Rows are tokens. Source: transformers 4.57.1 `modeling_qwen3_omni_moe`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """x: (..., n), weight: (n,)."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rotate(x: Array, angles: Array) -> Array:
    """Rotates the pairs (i, i + dim / 2). x: (tokens, heads, dim). angles: (tokens, dim), whose halves are equal."""
    half = x.shape[-1] // 2
    cos, sin = np.cos(angles[:, None, :half]), np.sin(angles[:, None, :half])
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def rotary_angles(positions: Array, dim: int, theta: float, section: tuple[int, ...] | None) -> Array:
    """positions: (tokens,), or (3, tokens) for time, height and width. Returns (tokens, dim). Frequency i takes height
    where i % 3 is 1 and width where it is 2, if i is below three times that axis' section, else time."""
    angles = np.empty((positions.shape[-1], dim // 2))
    for i in range(dim // 2):
        axis = i % 3 if section and positions.ndim == 2 and (i % 3 == 0 or i < 3 * section[i % 3]) else 0
        angles[:, i] = (positions if positions.ndim == 1 else positions[axis]) * theta ** (-2 * i / dim)
    return np.concatenate([angles, angles], axis=1)


def swiglu(gate_up: Array) -> Array:
    """silu(gate) * up. gate_up: (..., 2 n), gate first. Returns (..., n)."""
    gate, up = np.split(gate_up, 2, axis=-1)
    return gate / (1 + np.exp(-gate)) * up


def softmax(scores: Array) -> Array:
    """Over the last axis."""
    chances = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return chances / chances.sum(axis=-1, keepdims=True)


def attention(q: Array, k: Array, v: Array, scale: float, causal: bool = True, queries: Array | None = None) -> Array:
    """q: (S, heads, dim); k, v: (N, kv_heads, dim). Returns (S, heads, dim). causal: the queries are the last S of N
    positions, and each sees no later one. queries: which of the S rows to compute; None for all."""
    rows = np.arange(len(q)) if queries is None else queries
    share = q.shape[1] // k.shape[1]
    out = np.empty((len(rows), *q.shape[1:]))
    hidden = np.arange(len(k))[None] > (rows + len(k) - len(q))[:, None] if causal else None
    for head in range(q.shape[1]):
        scores = q[rows, head] @ k[:, head // share].T * scale
        if hidden is not None:
            scores[hidden] = -np.inf
        out[:, head] = softmax(scores) @ v[:, head // share]
    return out


def route(logits: Array, top_k: int, normalize: bool) -> tuple[Array, Array]:
    """logits: (tokens, experts). Returns the top_k experts, likeliest first, and their weights, (tokens, top_k)."""
    chances = softmax(logits)
    chosen = np.argsort(-chances, axis=-1, kind="stable")[:, :top_k]
    weights = np.take_along_axis(chances, chosen, axis=-1)
    return chosen, weights / weights.sum(axis=-1, keepdims=True) if normalize else weights


def rounded_rows(x: Array) -> Array:
    """Each row rounded to int8 and back: its largest absolute value becomes 127. x: (..., n)."""
    scales = np.abs(x).max(axis=-1, keepdims=True) / 127
    return np.rint(x / np.where(scales == 0, 1, scales)) * scales


def experts(
    x: Array, weights: Array, chosen: Array, gate_up: Any, down: Any, prepare: Callable[[Array], Array] = np.asarray
) -> Array:
    """x: (tokens, n). gate_up[i]: (2 m, n) and down[i]: (n, m) of expert i, of any float dtype; one expert at a time is
    converted to float64. prepare: applied to rows before they are multiplied."""
    out = np.zeros(x.shape)
    for expert in np.unique(chosen):
        rows, places = np.nonzero(chosen == expert)
        hidden = swiglu(prepare(x[rows]) @ gate_up[expert].astype(np.float64).T)
        out[rows] += weights[rows, places, None] * (prepare(hidden) @ down[expert].astype(np.float64).T)
    return out


def sample(logits: Array, uniform: float, temperature: float, top_k: int, top_p: float) -> int:
    """A token id. logits: (vocabulary,). Greedy, or drawn from `kept` by inverting the cumulative distribution."""
    if temperature == 0:
        return int(np.argmax(logits))
    ids, chances = kept(logits, temperature, top_k, top_p)
    place = int(np.sum(np.cumsum(chances) <= uniform * chances.sum()))
    return int(ids[min(place, len(ids) - 1)])


def kept(logits: Array, temperature: float, top_k: int, top_p: float) -> tuple[Array, Array]:
    """The ids that top_k and then top_p leave, likeliest first, and their probabilities, which sum to at most 1."""
    scores = logits.astype(np.float64) / temperature
    count = min(top_k, len(scores)) if top_k else len(scores)
    ids = np.argsort(-scores, kind="stable")[:count]
    chances = softmax(scores[ids])
    before = np.cumsum(chances) - chances
    return ids[before < top_p], chances[before < top_p]
