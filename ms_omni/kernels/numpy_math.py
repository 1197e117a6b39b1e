"""Operators of the CPU's decoder in numpy. Every function takes rows, of one token or many. float32.

Weights are (in, out): stored so, or a transposed view of the checkpoint's layout, which BLAS reads without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ms_omni.kernels.matmul import matmul
from ms_omni.kernels.numpy_int8 import Int8Matrix

Weight = np.ndarray | Int8Matrix

# Up to so many rows, each is multiplied on its own: the processor's cache still has the weights, a product of a row
# and a matrix is fast, and a row's result does not depend on the others. Measured as in `matmul`, GB/s of weights row
# by row and together: AVX-512 2 rows 25 and 20, 3 rows 21 and 21, 4 rows 16 and 20; AVX2 3 rows 20 and 14, 6 rows 13
# and 14.
FEW_ROWS = 3

# Arrays, since numpy takes twice as long over a number
_HALF, _ONE = np.array(0.5, np.float32), np.array(1, np.float32)
_LOWEST = np.array(-80, np.float32)  # below this silu is 0 to float32, and exp would overflow


def product(x: np.ndarray, weight: Weight, out: np.ndarray | None = None) -> np.ndarray:
    """x: (rows, in), weight: (in, out). x @ weight, (rows, out)."""
    if isinstance(weight, Int8Matrix):
        return weight.product(x, product, out)
    if len(x) == 1:
        return x.dot(weight, out)  # the same with less of numpy around it
    if len(x) > FEW_ROWS:
        return matmul(x, weight, out)
    if out is None:
        out = np.empty((len(x), weight.shape[1]), np.float32)
    np.matmul(x[:, None], weight, out=out[:, None])
    return out


def joined_product(x: np.ndarray, weights: Sequence[Weight], out: np.ndarray | None = None) -> np.ndarray:
    """x: (rows, in), weights: (in, out_i) each. x with each of them, side by side: (rows, sum of out_i)."""
    if len(weights) == 1:
        return product(x, weights[0], out)
    return np.concatenate([product(x, weight) for weight in weights], axis=1, out=out)


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """x: (rows, hidden), weight: (hidden,)."""
    out = x * weight
    if len(x) == 1:  # a number of Python's costs less than an array of one
        out *= np.float32(1 / math.sqrt(float(x[0].dot(x[0])) / x.shape[1] + eps))
        return out
    squares = np.matmul(x[:, None], x[:, :, None])[:, 0]
    out *= (1 / np.sqrt(squares.astype(np.float64) / x.shape[1] + eps)).astype(np.float32)
    return out


def norm_heads(heads: np.ndarray, weights: np.ndarray, least: np.ndarray) -> np.ndarray:
    """heads: (rows, n, dim). Every head by itself. weights: (n, dim), those of the norm times sqrt(dim); least:
    (), its eps times dim."""
    squares = np.matmul(heads[:, :, None], heads[..., None])[..., 0]
    squares += least
    out = heads * weights
    out /= np.sqrt(squares, squares)
    return out


def rotary_of(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """angles: (rows, head_dim / 2). (rows, 1, head_dim) each: cosines, and sines with the signs of rotate_half."""
    both = np.concatenate([-angles, angles], axis=1)[:, None]
    return np.cos(both), np.sin(both)


def rotate(heads: np.ndarray, rotary: tuple[np.ndarray, np.ndarray], out: np.ndarray | None = None) -> np.ndarray:
    """heads: (rows, n, dim), rotary: of `rotary_of`.

    Source: RoFormer (arXiv:2104.09864) in the half-rotation form of `apply_rotary_pos_emb` of transformers 4.57.1."""
    rows, count, dim = heads.shape
    swapped = heads.reshape(rows, count, 2, dim // 2)[:, :, ::-1].reshape(rows, count, dim)  # a copy
    swapped *= rotary[1]
    out = np.multiply(heads, rotary[0], out)
    out += swapped
    return out


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x)), of x's shape."""
    divisor = np.maximum(x, _LOWEST)
    np.negative(divisor, divisor)
    np.exp(divisor, divisor)
    divisor += _ONE
    return np.divide(x, divisor, divisor)


def swiglu(gate_up: np.ndarray) -> np.ndarray:
    """gate_up: (rows, 2 * inner). silu(first half) * second half, (rows, inner). Source: arXiv:2002.05202."""
    half = gate_up.shape[1] // 2
    out = silu(gate_up[:, :half])
    out *= gate_up[:, half:]
    return out


def dense(x: np.ndarray, gate_up: Sequence[Weight], down: Weight) -> np.ndarray:
    """x: (rows, hidden), gate_up: (hidden, 2 * inner), or gate and up by themselves, down: (inner, hidden)."""
    return product(swiglu(joined_product(x, gate_up)), down)


def gate_share(gate: np.ndarray, x: np.ndarray) -> np.ndarray:
    """sigmoid(x @ gate), (rows, 1): the weight of the shared expert. gate: (hidden, 1)."""
    share = product(x, gate)
    share *= _HALF
    np.tanh(share, share)
    share *= _HALF
    share += _HALF
    return share


def route(logits: np.ndarray, top_k: int, normalize: bool) -> tuple[np.ndarray, np.ndarray]:
    """logits: (rows, experts). The top_k experts of each row by softmax over all, in any order, and their routing
    weights, which add up to 1 if `normalize`: (rows, top_k) each.

    Source: Qwen3OmniMoeThinkerTextSparseMoeBlock of transformers 4.57.1."""
    chosen = logits.argpartition(-top_k, 1)[:, -top_k:]
    rows, count = logits.shape
    shares = logits.take(chosen if rows == 1 else chosen + np.arange(0, rows * count, count)[:, None])
    largest = np.maximum.reduce(shares, 1, keepdims=True)
    np.exp(np.subtract(shares, largest, shares), shares)
    counted = shares if normalize else np.exp(logits - largest)
    shares /= np.add.reduce(counted, 1, keepdims=True)
    return chosen, shares
