"""Tensors made from numbers: sequences, constants, the identity, triangles."""

from __future__ import annotations

import ctypes
import math
import mmap
from typing import Any

import numpy as np

from ascend_emulator.device_tensor import (
    BOOL,
    FLOAT32,
    FLOAT64,
    FLOATS,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.promotion import (
    COMMON,
    INTEGERS,
    MAX_RANK,
    REALS,
    UNSIGNED,
    is_convertible,
    operand,
    require_max_rank,
    require_scalar_dtype,
    store,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

NOT_COMPLEX = (*REALS, *INTEGERS, BOOL)


def steps_between(start: Any, end: Any, step: Any) -> int:
    """How many numbers lie in [start, end), in steps."""
    values = [np.asarray(value) for value in (start, end, step)]
    if all(value.dtype.kind in "iub" for value in values):
        start, end, step = (int(value) for value in values)
        return max(0, -((start - end) // step))
    return max(0, math.ceil((float(end) - float(start)) / float(step)))


@aclnn("aclnnArange(start: scalar, end: scalar, step: scalar, out: tensor)", doc="aclnnArange")
def arange(a):
    dtype = INT64 if a.out.dtype.kind in "iu" else FLOAT64 if a.out.dtype == FLOAT64 else FLOAT32
    start, step = (np.asarray(value).astype(dtype) for value in (a.start, a.step))
    store(a.out, start + np.arange(a.out.size, dtype=dtype) * step)


@arange.limits
def _(a):
    for name in ("start", "end", "step"):
        require_scalar_dtype(name, getattr(a, name), *NOT_COMPLEX)
    require_dtype(a.out, *REALS, INT32, INT64)
    require(a.step != 0, "step: 0, allowed: any other number")
    forwards = a.start <= a.end if a.step > 0 else a.start >= a.end
    require(forwards, f"start, end and step: {a.start}, {a.end}, {a.step}, the step leads away from the end")
    require_rank(a.out, 1)
    require_shape(a.out, (steps_between(a.start, a.end, a.step),))


@aclnn("aclnnLinspace(start: scalar, end: scalar, steps: int, out: tensor)", doc="aclnnLinspace")
def linspace(a):
    dtype = FLOAT64 if a.out.dtype == FLOAT64 else FLOAT32
    values = np.linspace(float(a.start), float(a.end), a.steps, dtype=FLOAT64).astype(dtype)
    store(a.out, values.reshape(a.out.shape))


@linspace.limits
def _(a):
    for name in ("start", "end"):
        require_scalar_dtype(name, getattr(a, name), *NOT_COMPLEX)
    require_dtype(a.out, INT8, INT16, INT32, UINT8, *REALS)
    require_max_rank(a.out)
    require(a.steps >= 0, f"steps: {a.steps}, allowed: 0 and more")
    require(a.out.size == a.steps, f"out: {a.out.size} elements, expected {a.steps} (steps)")
    require(a.out.size, "out: empty, which is not supported")


# Zeros of more bytes than these take no memory of the host before they are written, as the caches of an engine are
LAZY_BYTES = 1 << 20
MAP_FIXED = 0x10  # of sys/mman.h, which Python's mmap does not have
LIBC = ctypes.CDLL(None)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


def constant(name: str, value: int, dtypes: tuple[np.dtype, ...]) -> None:
    @aclnn(f"aclnn{name}(selfRef: tensor)", doc=f"aclnn{name}")
    def compute(a: Any) -> None:
        a.selfRef.array[...] = value

    @compute.limits
    def _(a: Any) -> None:
        require_dtype(a.selfRef, *dtypes)


@aclnn("aclnnInplaceZero(selfRef: tensor)", doc="aclnnInplaceZero")
def zero(a):
    if a.selfRef.is_contiguous and a.selfRef.array.nbytes >= LAZY_BYTES:
        zero_pages(a.selfRef.array)
    else:
        a.selfRef.array[...] = 0


@zero.limits
def _(a):
    require_dtype(a.selfRef, *COMMON, UNSIGNED[0])


def zero_pages(array: np.ndarray) -> None:
    """Fresh pages in the place of an array's, and 0 where it shares a page with others."""
    start, end = array.ctypes.data, array.ctypes.data + array.nbytes
    first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
    protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
    if LIBC.mmap(first, last - first, protection, flags, -1, 0) != first:
        raise MemoryError("the emulated card's memory could not be mapped anew")
    ctypes.memset(start, 0, first - start)
    ctypes.memset(last, 0, end - last)


constant("InplaceOne", 1, (*NOT_COMPLEX, UNSIGNED[0]))


@aclnn("aclnnInplaceFillScalar(selfRef: tensor, value: scalar)", doc="aclnnInplaceFillScalar")
def fill_scalar(a):
    a.selfRef.array[...] = operand(a.value, a.selfRef.dtype).astype(a.selfRef.dtype)


@fill_scalar.limits
def _(a):
    require_dtype(a.selfRef, *COMMON, *UNSIGNED)
    require_scalar_dtype("value", a.value, *COMMON, *UNSIGNED)
    require_max_rank(a.selfRef)


@aclnn("aclnnInplaceFillTensor(selfRef: tensor, value: tensor)", doc="aclnnInplaceFillTensor")
def fill_tensor(a):
    a.selfRef.array[...] = operand(a.value, a.selfRef.dtype).astype(a.selfRef.dtype).reshape(())


@fill_tensor.limits
def _(a):
    dtypes = (*INTEGERS, *UNSIGNED, BOOL, *FLOATS)
    require_dtype(a.selfRef, *dtypes)
    require_dtype(a.value, *dtypes)
    require_max_rank(a.selfRef)
    require(a.value.shape in ((), (1,)), f"value: shape {a.value.shape}, allowed: () or (1,)")
    require(
        is_convertible(a.value.dtype, a.selfRef.dtype),
        f"value: dtype {a.value.dtype}, not convertible to that of selfRef, {a.selfRef.dtype}",
    )


@aclnn("aclnnEye(n: int, m: int, out: tensor)", doc="aclnnEye")
def eye(a):
    store(a.out, np.eye(a.n, a.m))


@eye.limits
def _(a):
    require_dtype(a.out, *FLOATS, *INTEGERS, BOOL)
    require(a.n >= 0 and a.m >= 0, f"n and m: {a.n} and {a.m}, allowed: 0 and more")
    require_shape(a.out, (a.n, a.m))


def triangle(name: str, formula: Any) -> None:
    @aclnn(f"aclnn{name}(self: tensor, diagonal: int, out: tensor)", doc=f"aclnn{name}&aclnnInplace{name}")
    def compute(a: Any) -> None:
        store(a.out, formula(a.self.array, a.diagonal))

    @compute.limits
    def _(a: Any) -> None:
        require_dtype(a.self, *NOT_COMPLEX, *UNSIGNED)
        require_same_dtype(a.self, a.out)
        require_shape(a.out, a.self.shape)
        require_rank(a.self, 2, MAX_RANK)


triangle("Triu", np.triu)
triangle("Tril", np.tril)
