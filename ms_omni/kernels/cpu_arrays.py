"""Between MindSpore tensors and numpy on the CPU: dtypes, promotion, fresh tensors from arrays.

`asnumpy` and `Tensor.from_numpy` share memory on the CPU and take 2-5 microseconds; a MindSpore kernel takes 15-150,
a cast 500. So index bookkeeping on small tensors is done in numpy. A fill must never hand out an array that aliases one
of its inputs.
"""

from __future__ import annotations

import ctypes
from typing import Any

import mindspore as ms
import numpy as np

from ms_omni.checkpoint.parameters import numpy_dtype

_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2, "V": 2, "c": 3}  # ml_dtypes.bfloat16 has kind V


def is_floating(array: np.ndarray) -> bool:
    """Of numpy's float types or ml_dtypes' bfloat16."""
    return _KINDS[array.dtype.kind] == 2


def to_tensor(array: Any, dtype: Any = None) -> ms.Tensor:
    """A tensor that takes over `array` (which nobody else may hold); with `dtype`, converted to it."""
    array = np.asarray(array)
    if dtype is not None:
        array = array.astype(numpy_dtype(dtype), copy=False)
    return ms.Tensor.from_numpy(array)


def float32_array(parameter: ms.Tensor) -> np.ndarray:
    """The values of a Parameter on the CPU: its own memory if they are float32, else a copy."""
    return (parameter if parameter.dtype == ms.float32 else parameter.astype(ms.float32)).asnumpy()


def writable(tensor: ms.Tensor) -> np.ndarray:
    """An array over the memory of `tensor`, views included: writing to it writes to the tensor and to its base.

    (`asnumpy` of a view is a copy.) Valid only while the tensor lives.
    """
    if tensor.has_init:  # nothing is allocated yet
        tensor.init_data()
    dtype = numpy_dtype(tensor.dtype)
    if tensor.size == 0:
        return np.empty(tensor.shape, dtype)
    strides = tuple(step * dtype.itemsize for step in tensor.stride())
    num_bytes = sum((size - 1) * step for size, step in zip(tensor.shape, strides, strict=True)) + dtype.itemsize
    memory = (ctypes.c_char * num_bytes).from_address(tensor.data_ptr())
    return np.ndarray(tensor.shape, dtype, memory, strides=strides)


def scalar(value: Any) -> Any:
    """A Python number from a number or a tensor of one element."""
    return value.item() if isinstance(value, ms.Tensor | np.generic | np.ndarray) else value


def as_shape(sizes: Any) -> tuple[int, ...]:
    """(2, 3), ((2, 3),), [2, 3], 2 or a 1-d tensor as a tuple of ints."""
    if isinstance(sizes, ms.Tensor):
        sizes = sizes.tolist()
    if isinstance(sizes, int | np.integer):
        return (int(sizes),)
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list | ms.Tensor):
        return as_shape(sizes[0])
    return tuple(int(scalar(size)) for size in sizes)


def promoted(arrays: list[np.ndarray]) -> np.dtype:
    """The common dtype by torch's rule: the highest kind present decides (int64 with float16 gives float16)."""
    top = max(_KINDS[array.dtype.kind] for array in arrays)
    dtypes = {array.dtype for array in arrays if _KINDS[array.dtype.kind] == top}
    if len(dtypes) == 1:
        return dtypes.pop()
    if any(dtype.kind == "V" for dtype in dtypes):  # numpy cannot promote bfloat16 with float16
        return np.result_type(np.float32, *(dtype for dtype in dtypes if dtype.kind != "V"))
    return np.result_type(*dtypes)


def summed(array: np.ndarray) -> np.dtype:
    """The dtype in which sums over `array` are given: int64 for bool and every integer, else its own."""
    return array.dtype if is_floating(array) else np.dtype(np.int64)
