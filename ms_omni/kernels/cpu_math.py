"""Reductions and products on the CPU. Signatures are mint's."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, ops

from ms_omni.kernels.cpu_arrays import np_dtype, promoted, summed, to_tensor


def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """MindSpore's own gives wrong answers for integers along a dimension."""
    return to_tensor(np.any(input.asnumpy(), _axes(dim), keepdims=keepdim))


def _axes(dim: Any) -> Any:
    return tuple(dim) if isinstance(dim, list) else dim


def cumsum(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    array = input.asnumpy()
    return to_tensor(np.cumsum(array, dim, dtype=np_dtype(dtype) if dtype is not None else summed(array)))


def var(input: Tensor, dim: Any = None, *, correction: int = 1, keepdim: bool = False) -> Tensor:
    array = input.asnumpy()
    return to_tensor(np.var(array, _axes(dim), ddof=correction, keepdims=keepdim).astype(array.dtype))


def std(input: Tensor, dim: Any = None, *, correction: int = 1, keepdim: bool = False) -> Tensor:
    array = input.asnumpy()
    return to_tensor(np.std(array, _axes(dim), ddof=correction, keepdims=keepdim).astype(array.dtype))


def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    from scipy.special import logsumexp as reference  # MindSpore depends on scipy

    array = input.asnumpy()
    return to_tensor(np.asarray(reference(array, _axes(dim), keepdims=keepdim)).astype(array.dtype))


def log2(input: Tensor) -> Tensor:
    return to_tensor(np.log2(input.asnumpy()))


def log10(input: Tensor) -> Tensor:
    return to_tensor(np.log10(input.asnumpy()))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    left, right = input.asnumpy(), vec2.asnumpy()
    return to_tensor(np.multiply.outer(left, right).astype(promoted([left, right]), copy=False))


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


def mv(input: Tensor, vec: Tensor) -> Tensor:
    return mint.matmul(input, vec)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    return beta * input + alpha * mint.bmm(batch1, batch2)


def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The vector norm: over everything flattened when dim is None."""
    array = input.asnumpy() if dtype is None else input.asnumpy().astype(np_dtype(dtype))
    dims = None if dim is None else tuple(np.atleast_1d(dim).tolist())
    size, order = np.abs(array), 2.0 if p == "fro" else float(p)
    if np.isinf(order):
        out = (size.max if order > 0 else size.min)(axis=dims, keepdims=keepdim)
    elif order == 0:
        out = np.sum(size != 0, axis=dims, keepdims=keepdim)
    else:
        out = np.sum(size**order, axis=dims, keepdims=keepdim) ** (1 / order)
    return to_tensor(np.asarray(out).astype(array.dtype))


def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    return to_tensor(np.count_nonzero(input.asnumpy(), _axes(dim)), ms.int64)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    return to_tensor(np.tril(input.asnumpy(), diagonal))


def mul(input: Any, other: Any) -> Tensor:
    """mint.mul has a kernel for two tensors only; the operator takes a number as well."""
    return input * other
