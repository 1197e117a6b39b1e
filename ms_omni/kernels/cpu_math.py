"""Reductions and products on the CPU. Signatures are mint's."""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Tensor, mint, ops

from ms_omni.kernels.cpu_arrays import np_dtype, scalar, summed, to_tensor


def cumsum(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    array = input.asnumpy()
    return to_tensor(np.cumsum(array, dim, dtype=np_dtype(dtype) if dtype is not None else summed(array)))


def var(input: Tensor, dim: Any = None, *, correction: int = 1, keepdim: bool = False) -> Tensor:
    array = input.asnumpy()
    dim = tuple(dim) if isinstance(dim, list) else dim
    return to_tensor(np.var(array, dim, ddof=correction, keepdims=keepdim).astype(array.dtype))


def std(input: Tensor, dim: Any = None, *, correction: int = 1, keepdim: bool = False) -> Tensor:
    array = input.asnumpy()
    dim = tuple(dim) if isinstance(dim, list) else dim
    return to_tensor(np.std(array, dim, ddof=correction, keepdims=keepdim).astype(array.dtype))


def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    from scipy.special import logsumexp as reference  # MindSpore depends on scipy

    array = input.asnumpy()
    dim = tuple(dim) if isinstance(dim, list) else dim
    return to_tensor(np.asarray(reference(array, dim, keepdims=keepdim)).astype(array.dtype))


def log2(input: Tensor) -> Tensor:
    return to_tensor(np.log2(input.asnumpy()))


def log10(input: Tensor) -> Tensor:
    return to_tensor(np.log10(input.asnumpy()))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    return to_tensor(np.multiply.outer(input.asnumpy(), vec2.asnumpy()))


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    return mint.matmul(input, mat2)


def dot(input: Tensor, other: Tensor) -> Tensor:
    return mint.sum(input * other)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    return beta * input + alpha * mint.matmul(mat1, mat2)


def einsum(equation: str, *operands: Any) -> Tensor:
    tensors = operands[0] if len(operands) == 1 and isinstance(operands[0], tuple | list) else operands
    return to_tensor(np.einsum(equation, *(tensor.asnumpy() for tensor in tensors), optimize=True))


def equal(input: Tensor, other: Tensor) -> bool:
    return bool(np.array_equal(input.asnumpy(), other.asnumpy()))


def bitwise_or(input: Tensor, other: Any) -> Tensor:
    right = other.asnumpy() if isinstance(other, Tensor) else other
    return to_tensor(np.bitwise_or(input.asnumpy(), right))


def bitwise_not(input: Tensor) -> Tensor:
    return to_tensor(np.invert(input.asnumpy()))


def floor_divide(input: Any, other: Any) -> Tensor:
    return ops.floor_divide(input, other)


def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    return self.copy_(mint.clamp(self, scalar(min), scalar(max)))
