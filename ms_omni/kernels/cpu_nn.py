"""Neural network functions on the CPU: embedding, normalisation, activations, padding, dropout."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from mindspore import Tensor, mint, ops

from ms_omni.kernels.cpu_arrays import to_tensor
from ms_omni.kernels.cpu_random import numpy_generator

_PAD_MODES: dict[str, Any] = {"replicate": "edge", "reflect": "reflect", "circular": "wrap"}


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


def log_softmax(input: Tensor, dim: Any = None, *, dtype: Any = None) -> Tensor:
    input = input if dtype is None else input.astype(dtype)
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
    return ops.log_softmax(input, dim)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    out = mint.where(input > 0, input, alpha * mint.expm1(mint.clamp(input, max=0.0)))
    return input.copy_(out) if inplace else out


def softplus(input: Tensor, beta: Any = 1, threshold: Any = 20) -> Tensor:
    scaled = input.asnumpy() * beta
    return mint.where(to_tensor(scaled > threshold), input, to_tensor(np.logaddexp(0, scaled) / beta, input.dtype))


def mish(input: Tensor) -> Tensor:
    return ops.mish(input)


def leaky_relu(input: Tensor, negative_slope: Any = 0.01) -> Tensor:
    return ops.leaky_relu(input, negative_slope)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0:
        return input
    keep = numpy_generator().random(input.shape) >= p
    out = input * to_tensor(keep / (1 - p) if p < 1 else keep, input.dtype)
    return input.copy_(out) if inplace else out


def pad(input: Tensor, pad: Any, mode: str = "constant", value: Any = None) -> Tensor:
    """pad: (left, right) of the last dimension, then of the one before, ...; a negative constant pad crops."""
    sizes = [int(size) for size in (pad.tolist() if isinstance(pad, Tensor) else pad)]
    pairs = [(0, 0)] * (input.ndim - len(sizes) // 2) + list(zip(sizes[-2::-2], sizes[::-2]))
    array = input.asnumpy()
    if mode != "constant":
        return to_tensor(np.pad(array, pairs, _PAD_MODES[mode]))
    out = np.full([n + a + b for n, (a, b) in zip(array.shape, pairs)], 0 if value is None else value, array.dtype)
    inner = tuple(slice(max(a, 0), size - max(b, 0)) for size, (a, b) in zip(out.shape, pairs))
    kept = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(array.shape, pairs))
    out[inner] = array[kept]
    return to_tensor(out)
