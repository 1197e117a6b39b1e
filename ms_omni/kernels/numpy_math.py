"""What the CPU's decoder computes with, in numpy: every function takes rows, of one token or of many. float32.

Weights are (in, out): as they are stored, or as the transposed view of what a checkpoint has, which BLAS reads without
a copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Up to so many rows each is multiplied by itself: a product of matrices packs its weights first, which costs more than
# reading them again out of the processor's cache. Measured with OpenBLAS 0.3.23 on one core of an AMD EPYC
# (Zen 3), 512 x 1024 in microseconds: 2 rows 302 instead of 624, 4 rows 438 and 530, 8 rows 650 and 686; elsewhere
# (AVX-512) 4 rows took 348 and 190.
FEW_ROWS = 3


def product(x: np.ndarray, weight: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """x: (rows, in), weight: (in, out). x @ weight, (rows, out)."""
    if len(x) > FEW_ROWS:
        return np.matmul(x, weight, out=out)
    if out is None:
        out = np.empty((len(x), weight.shape[1]), np.float32)
    if len(x) == 1:
        np.dot(x[0], weight, out[0])  # the same with less of numpy around it
    else:
        np.matmul(x[:, None], weight, out=out[:, None])
    return out


def joined_product(x: np.ndarray, weights: Sequence[np.ndarray], out: np.ndarray | None = None) -> np.ndarray:
    """x: (rows, in), weights: (in, out_i) each. x with each of them, side by side: (rows, sum of out_i)."""
    if len(weights) == 1:
        return product(x, weights[0], out)
    return np.concatenate([product(x, weight) for weight in weights], axis=1, out=out)


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """x: (rows, hidden), weight: (hidden,)."""
    if len(x) == 1:  # a number of Python's costs less than arrays of one
        return x * weight * np.float32(1 / math.sqrt(x[0].dot(x[0]) / x.shape[1] + eps))
    squares = np.matmul(x[:, None], x[:, :, None])[:, 0]
    return x * weight / _root(squares, x.shape[1], eps)


def norm_heads(heads: np.ndarray, weights: np.ndarray, eps: float) -> np.ndarray:
    """heads: (rows, n, dim), weights: (n, dim). Every head by itself."""
    squares = np.matmul(heads[:, :, None], heads[..., None])[..., 0]
    return heads * weights / _root(squares, heads.shape[2], eps)


def _root(squares: np.ndarray, count: int, eps: float) -> np.ndarray:
    """Of the mean, in place."""
    squares *= np.float32(1 / count)
    squares += np.float32(eps)
    return np.sqrt(squares, out=squares)


def rotary_of(angles: np.ndarray) -> np.ndarray:
    """angles: (rows, head_dim / 2). (2, rows, 1, head_dim): cosines, and sines with the signs of rotate_half."""
    cos, sin = np.cos(angles), np.sin(angles)
    both = np.concatenate([cos, cos, -sin, sin], axis=1)
    return both.reshape(len(angles), 2, 1, 2 * angles.shape[1]).swapaxes(0, 1)


def rotate(heads: np.ndarray, rotary: np.ndarray) -> np.ndarray:
    """heads: (rows, n, dim), rotary: of `rotary_of`.

    Source: RoFormer (arXiv:2104.09864) in the half-rotation form of `apply_rotary_pos_emb` of transformers 4.57.1."""
    rows, count, dim = heads.shape
    swapped = heads.reshape(rows, count, 2, dim // 2)[:, :, ::-1].reshape(rows, count, dim)
    return heads * rotary[0] + swapped * rotary[1]


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x)), of x's shape."""
    divisor = np.maximum(x, np.float32(-80))  # below -80 silu is 0 to float32, and exp would overflow
    np.negative(divisor, out=divisor)
    np.exp(divisor, out=divisor)
    divisor += np.float32(1)
    return np.divide(x, divisor, out=divisor)


def swiglu(gate_up: np.ndarray) -> np.ndarray:
    """gate_up: (rows, 2 * inner). silu(first half) * second half, (rows, inner). Source: arXiv:2002.05202."""
    half = gate_up.shape[1] // 2
    out = silu(gate_up[:, :half])
    out *= gate_up[:, half:]
    return out


def dense(x: np.ndarray, gate_up: Sequence[np.ndarray], down: np.ndarray) -> np.ndarray:
    """x: (rows, hidden), gate_up: (hidden, 2 * inner), or gate and up by themselves, down: (inner, hidden)."""
    return product(swiglu(joined_product(x, gate_up)), down)


def gate_share(gate: np.ndarray, x: np.ndarray) -> np.ndarray:
    """sigmoid(x @ gate), (rows, 1): how much the shared expert counts. gate: (hidden, 1)."""
    halves = np.tanh(np.float32(0.5) * np.matmul(x, gate))
    return np.float32(0.5) * halves + np.float32(0.5)


def route(logits: np.ndarray, top_k: int, normalize: bool) -> tuple[np.ndarray, np.ndarray]:
    """logits: (rows, experts). The top_k experts of each row by softmax over all, in no order, and their shares, which
    add up to 1 if `normalize`: (rows, top_k) each.

    Source: Qwen3OmniMoeThinkerTextSparseMoeBlock of transformers 4.57.1."""
    chosen = np.argpartition(logits, -top_k, axis=1)[:, -top_k:]
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = chances[np.arange(len(logits))[:, None], chosen]
    return chosen, shares / (shares if normalize else chances).sum(axis=1, keepdims=True)
