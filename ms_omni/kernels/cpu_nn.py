"""Neural network functions on the CPU: embedding, normalisation, activation, padding, an outer product."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from mindspore import Tensor, mint, ops

from ms_omni.kernels.cpu_arrays import promoted, to_tensor

_dropout, _pad = mint.nn.functional.dropout, mint.nn.functional.pad


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: Any = None,
    max_norm: Any = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
) -> Tensor:
    """Rows of weight. Raises IndexError for an id outside (ops.gather would return zeros), NotImplementedError for
    max_norm, which rewrites the weights."""
    if max_norm is not None:
        raise NotImplementedError("embedding: max_norm is not available on CPU")
    return to_tensor(np.take(weight.asnumpy(), input.asnumpy(), axis=0))


@cache
def _layer_norm_kernel(first_axis: int, eps: float) -> Any:
    return ops.LayerNorm(first_axis, first_axis, eps)


def layer_norm(input: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    weight = mint.ones(shape, dtype=input.dtype) if weight is None else weight
    bias = mint.zeros(shape, dtype=input.dtype) if bias is None else bias
    return _layer_norm_kernel(input.ndim - len(shape), float(eps))(input, weight, bias)[0]


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return ops.gelu(input, approximate="tanh")
    return input * 0.5 * (ops.erf(input * math.sqrt(0.5)) + 1.0)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Outside training nothing is dropped; MindSpore's own asks for a kernel even then."""
    return _dropout(input, p, training, inplace) if training and p else input


def pad(input: Tensor, pad: Any, mode: str = "constant", value: Any = None) -> Tensor:
    """pad: (left, right) of the last dimension, then of the one before, ...; a negative constant pad crops."""
    if mode != "constant":
        return _pad(input, pad, mode)
    sizes = [int(size) for size in (pad.tolist() if isinstance(pad, Tensor) else pad)]
    pairs = [(0, 0)] * (input.ndim - len(sizes) // 2) + list(zip(sizes[-2::-2], sizes[::-2], strict=True))
    array = input.asnumpy()
    shape = [n + a + b for n, (a, b) in zip(array.shape, pairs, strict=True)]
    out = np.full(shape, 0 if value is None else value, array.dtype)
    inner = tuple(slice(max(a, 0), size - max(b, 0)) for size, (a, b) in zip(shape, pairs, strict=True))
    kept = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(array.shape, pairs, strict=True))
    out[inner] = array[kept]
    return to_tensor(out)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    left, right = input.asnumpy(), vec2.asnumpy()
    return to_tensor(np.multiply.outer(left, right).astype(promoted([left, right]), copy=False))
