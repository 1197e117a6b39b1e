"""New tensors on the CPU: ranges, filled tensors, copies, joined ones. Signatures are mint's."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.checkpoint.parameters import numpy_dtype
from ms_omni.kernels.cpu_arrays import as_shape, promoted, scalar, to_tensor, writable


def arange(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None) -> Tensor:
    if end is None:
        start, end = 0, start
    start, end, step = scalar(start), scalar(end), scalar(step)
    if dtype is None:
        dtype = ms.float32 if any(isinstance(value, float) for value in (start, end, step)) else ms.int64
    return to_tensor(np.arange(start, end, step), dtype)


def linspace(start: Any, end: Any, steps: int, *, dtype: Any = None) -> Tensor:
    return to_tensor(np.linspace(scalar(start), scalar(end), int(scalar(steps))), dtype or ms.float32)


def full(size: Any, fill_value: Any, *, dtype: Any = None) -> Tensor:
    value = scalar(fill_value)
    if dtype is None:
        dtype = {bool: ms.bool_, int: ms.int64}.get(type(value), ms.float32)
    return to_tensor(np.full(as_shape(size), value, numpy_dtype(dtype)))


def full_like(input: Tensor, fill_value: Any, *, dtype: Any = None) -> Tensor:
    return full(input.shape, fill_value, dtype=dtype or input.dtype)


def zeros(size: Any, *, dtype: Any = None) -> Tensor:
    return to_tensor(np.zeros(as_shape(size), numpy_dtype(dtype or ms.float32)))


def ones(size: Any, *, dtype: Any = None) -> Tensor:
    return to_tensor(np.ones(as_shape(size), numpy_dtype(dtype or ms.float32)))


def zeros_like(input: Tensor, *, dtype: Any = None) -> Tensor:
    return zeros(input.shape, dtype=dtype or input.dtype)


def ones_like(input: Tensor, *, dtype: Any = None) -> Tensor:
    return ones(input.shape, dtype=dtype or input.dtype)


def empty(*size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros: uninitialised memory would make a bug that reads it come and go."""
    return zeros(size, dtype=dtype)


def clone(input: Tensor) -> Tensor:
    return Tensor.from_numpy(input.asnumpy().copy())


def cat(tensors: Any, dim: int = 0) -> Tensor:
    """The kernel joins equal dtypes only; here others are promoted. Tensors of shape (0,) join with anything."""
    # the parts are often transposed views (keys and values): reading them in place saves a kernel's copy
    arrays = [tensor.asnumpy() if tensor.is_contiguous() else writable(tensor) for tensor in tensors]
    arrays = [array for array in arrays if array.shape != (0,)] or arrays
    return to_tensor(np.concatenate(arrays, dim, dtype=promoted(arrays), casting="unsafe"))


def concat(tensors: Any, dim: int = 0) -> Tensor:
    return cat(tensors, dim)


def stack(tensors: Any, dim: int = 0) -> Tensor:
    arrays = [tensor.asnumpy() for tensor in tensors]
    return to_tensor(np.stack(arrays, dim).astype(promoted(arrays), copy=False))


def repeat(self: Tensor, *repeats: Any) -> Tensor:
    """Tensor.repeat: tile, with at least as many repeats as dimensions."""
    times = as_shape(repeats)
    if len(times) < self.ndim:
        raise ValueError(f"repeat: expected at least {self.ndim} repeats for shape {self.shape}, got {times}")
    return to_tensor(np.tile(self.asnumpy(), times))
