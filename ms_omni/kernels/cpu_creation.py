"""New tensors on the CPU: ranges, filled tensors, copies. Signatures are mint's."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.kernels.cpu_arrays import as_shape, np_dtype, scalar, to_tensor


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
    return to_tensor(np.full(as_shape(size), value, np_dtype(dtype)))


def full_like(input: Tensor, fill_value: Any, *, dtype: Any = None) -> Tensor:
    return full(input.shape, fill_value, dtype=dtype or input.dtype)


def zeros(size: Any, *, dtype: Any = None) -> Tensor:
    return to_tensor(np.zeros(as_shape(size), np_dtype(dtype or ms.float32)))


def ones(size: Any, *, dtype: Any = None) -> Tensor:
    return to_tensor(np.ones(as_shape(size), np_dtype(dtype or ms.float32)))


def zeros_like(input: Tensor, *, dtype: Any = None) -> Tensor:
    return to_tensor(np.zeros(input.shape, np_dtype(dtype or input.dtype)))


def ones_like(input: Tensor, *, dtype: Any = None) -> Tensor:
    return to_tensor(np.ones(input.shape, np_dtype(dtype or input.dtype)))


def empty(*size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros: uninitialised memory would make a bug that reads it come and go."""
    return to_tensor(np.zeros(as_shape(size), np_dtype(dtype or ms.float32)))


def empty_like(input: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    return zeros_like(input, dtype=dtype)


def new_full(self: Tensor, size: Any, fill_value: Any, *, dtype: Any = None) -> Tensor:
    return full(size, fill_value, dtype=dtype or self.dtype)


def new_empty(self: Tensor, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    return empty(*size, dtype=dtype or self.dtype)


def clone(input: Tensor) -> Tensor:
    return Tensor.from_numpy(input.asnumpy().copy())
