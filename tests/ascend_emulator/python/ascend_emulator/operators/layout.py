"""Moving values without changing them: permuting, copying, casting, joining, splitting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ascend_emulator.device_tensor import (
    BOOL,
    COMPLEX64,
    FLOAT64,
    FLOATS,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    DeviceTensor,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.promotion import (
    COMMON,
    COMPLEXES,
    INTEGERS,
    MAX_RANK,
    REALS,
    UNSIGNED,
    axes_of,
    axis_of,
    operand,
    promoted,
    require_broadcast,
    require_convertible,
    require_max_rank,
    store,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

EVERY = (*COMMON, *UNSIGNED)


# ---- one to one ------------------------------------------------------------------------------------------------------
@aclnn("aclnnPermute(self: tensor, dims: ints, out: tensor)", doc="aclnnPermute")
def permute(a):
    store(a.out, np.transpose(a.self.array, axes_of("dims", a.dims, a.self.ndim)))


@permute.limits
def _(a):
    require_dtype(a.self, *EVERY)
    require_same_dtype(a.self, a.out)
    require_max_rank(a.self)
    axes = axes_of("dims", a.dims, a.self.ndim)
    require(len(a.dims) == a.self.ndim, f"dims: {a.dims}, allowed: all {a.self.ndim} dimensions of self, in any order")
    require_shape(a.out, tuple(a.self.shape[axis] for axis in axes))


@aclnn("aclnnCast(self: tensor, dtype: dtype, out: tensor)", doc="aclnnCast")
def cast(a):
    store(a.out, a.self.array)


@cast.limits
def _(a):
    require_dtype(a.self, *EVERY)
    require_dtype(a.out, *EVERY)
    require(a.dtype == a.out.dtype, f"dtype: {a.dtype}, expected that of out, {a.out.dtype}")
    require(a.self.format == a.out.format, f"out: format {a.out.format}, expected that of self, {a.self.format}")
    require_max_rank(a.self)
    require_shape(a.out, a.self.shape)
    require(
        a.self.is_contiguous or a.self.dtype not in (BOOL, *COMPLEXES),
        f"self: dtype {a.self.dtype} and not contiguous, which is not supported",
    )


@aclnn("aclnnInplaceCopy(selfRef: tensor, src: tensor)", doc="aclnnInplaceCopy")
def copy(a):
    store(a.selfRef, np.broadcast_to(a.src.array, a.selfRef.shape))


@copy.limits
def _(a):
    require_dtype(a.selfRef, *EVERY)
    require_dtype(a.src, *EVERY)
    require_max_rank(a.selfRef, a.src)
    require_broadcast(a.selfRef, a.selfRef, a.src)
    # The page "conversion_relationship" as it stands: reals may become integers here.
    to_bool = a.selfRef.dtype == BOOL != a.src.dtype
    complex_to_integer = a.src.dtype in COMPLEXES and a.selfRef.dtype in (*INTEGERS, *UNSIGNED)
    require(
        not to_bool and not complex_to_integer,
        f"src: dtype {a.src.dtype}, not convertible to that of selfRef, {a.selfRef.dtype}",
    )
    require(
        a.selfRef.is_contiguous or a.selfRef.dtype not in COMPLEXES,
        f"selfRef: dtype {a.selfRef.dtype} and not contiguous, which is not supported",
    )


@aclnn("aclnnExpand(self: tensor, size: ints, out: tensor)", doc="aclnnExpand")
def expand(a):
    store(a.out, np.broadcast_to(a.self.array, a.out.shape))


@expand.limits
def _(a):
    require_dtype(a.self, *FLOATS, UINT8, INT8, INT32, INT64, BOOL)
    require_same_dtype(a.self, a.out)
    require_max_rank(a.self, a.out)
    require(len(a.size) >= a.self.ndim, f"size: {a.size}, allowed: at least {a.self.ndim} numbers")
    leading = len(a.size) - a.self.ndim
    own = [1] * leading + list(a.self.shape)
    expected = tuple(mine if wanted == -1 else wanted for mine, wanted in zip(own, a.size, strict=True))
    fits = all(mine in (1, wanted) for mine, wanted in zip(own, expected, strict=True))
    require(fits, f"size: {a.size}, self of shape {a.self.shape} does not expand to it")
    require_shape(a.out, expected)


@aclnn("aclnnFlip(self: tensor, dims: ints, out: tensor)", doc="aclnnFlip")
def flip(a):
    store(a.out, np.flip(a.self.array, axes_of("dims", a.dims, a.self.ndim) if a.dims else ()))


@flip.limits
def _(a):
    require_dtype(a.self, *COMMON)
    require_same_dtype(a.self, a.out)
    require_shape(a.out, a.self.shape)
    require_rank(a.self, 1, MAX_RANK)
    axes_of("dims", a.dims, a.self.ndim)


@aclnn("aclnnRoll(x: tensor, shifts: ints, dims: ints, out: tensor)", doc="aclnnRoll")
def roll(a):
    store(a.out, np.roll(a.x.array, a.shifts if a.dims else a.shifts[0], tuple(a.dims) if a.dims else None))


@roll.limits
def _(a):
    require_dtype(a.x, *FLOATS, INT8, UINT8, INT16, INT32, INT64, UNSIGNED[1], BOOL)
    require_same_dtype(a.x, a.out)
    require_max_rank(a.x)
    require_shape(a.out, a.x.shape)
    expected = len(a.dims) or 1
    require(len(a.shifts) == expected, f"shifts: {a.shifts}, expected {expected} numbers")
    for dim in a.dims:
        axis_of("dims", dim, a.x.ndim)


# ---- joining and splitting -------------------------------------------------------------------------------------------
@aclnn("aclnnCat(tensors: tensors, dim: int, out: tensor)", doc="aclnnCat")
def cat(a):
    dtype = promoted(*(tensor.dtype for tensor in a.tensors))
    parts = [operand(tensor, dtype) for tensor in joined(a.tensors)]
    store(a.out, np.concatenate(parts, axis=a.dim) if parts else np.zeros(a.out.shape))


def joined(tensors: Sequence[DeviceTensor]) -> list[DeviceTensor]:
    """All but empty ones of one dimension, which go with any shape as in PyTorch."""
    return [tensor for tensor in tensors if tensor.shape != (0,)]


@cat.limits
def _(a):
    dtypes = (*REALS, *INTEGERS, BOOL, COMPLEX64)
    require(a.tensors, "tensors: none given")
    for tensor in (*a.tensors, a.out):
        require_dtype(tensor, *dtypes)
        require_rank(tensor, 1, MAX_RANK)
    require_convertible(promoted(*(tensor.dtype for tensor in a.tensors)), a.out)
    tensors = joined(a.tensors)
    if not tensors:
        return
    first = tensors[0]
    axis = axis_of("dim", a.dim, first.ndim)
    for tensor in tensors[1:]:
        others = [size for i, size in enumerate(tensor.shape) if i != axis]
        expected = [size for i, size in enumerate(first.shape) if i != axis]
        require(
            others == expected, f"{tensor.name}: shape {tensor.shape}, must be {first.shape} but for dimension {axis}"
        )
    total = sum(tensor.shape[axis] for tensor in tensors)
    require_shape(a.out, (*first.shape[:axis], total, *first.shape[axis + 1 :]))


@aclnn("aclnnStack(tensors: tensors, dim: int, out: tensor)", doc="aclnnStack")
def stack(a):
    dtype = promoted(*(tensor.dtype for tensor in a.tensors))
    store(a.out, np.stack([operand(tensor, dtype) for tensor in a.tensors], axis=a.dim))


@stack.limits
def _(a):
    require(a.tensors, "tensors: none given")
    first = a.tensors[0]
    for tensor in a.tensors:
        require_dtype(tensor, *EVERY)
        require_rank(tensor, 0, MAX_RANK - 1)
        require_shape(tensor, first.shape)
    require_dtype(a.out, *EVERY)
    require_convertible(promoted(*(tensor.dtype for tensor in a.tensors)), a.out)
    axis = axis_of("dim", a.dim, first.ndim + 1)
    require_shape(a.out, (*first.shape[:axis], len(a.tensors), *first.shape[axis:]))


def split(source: DeviceTensor, sizes: Sequence[int], axis: int, outputs: Sequence[DeviceTensor]) -> None:
    start = 0
    for out, size in zip(outputs, sizes, strict=True):
        store(out, source.array[(slice(None),) * axis + (slice(start, start + size),)])
        start += size


def check_split(source: DeviceTensor, sizes: Sequence[int], axis: int, outputs: Sequence[DeviceTensor]) -> None:
    dtypes = EVERY if len(outputs) <= 32 else tuple(d for d in EVERY if d not in (FLOAT64, *COMPLEXES))
    require_dtype(source, *dtypes)
    require_max_rank(source)
    require(len(outputs) == len(sizes), f"out: {len(outputs)} tensors, expected {len(sizes)}")
    for out, size in zip(outputs, sizes, strict=True):
        require_same_dtype(source, out)
        require_shape(out, (*source.shape[:axis], size, *source.shape[axis + 1 :]))


@aclnn("aclnnSplitWithSize(self: tensor, splitSize: ints, dim: int, out: tensors)", doc="aclnnSplitWithSize")
def split_with_size(a):
    split(a.self, a.splitSize, a.dim % a.self.ndim, a.out)


@split_with_size.limits
def _(a):
    axis = axis_of("dim", a.dim, a.self.ndim)
    total = a.self.shape[axis]
    require(sum(a.splitSize) == total, f"splitSize: {a.splitSize}, their sum must be {total}, that of dimension {axis}")
    check_split(a.self, a.splitSize, axis, a.out)


def equal_parts(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)] if size else [0]


@aclnn("aclnnSplitTensor(self: tensor, splitSections: int, dim: int, out: tensors)", doc="aclnnSplitTensor")
def split_tensor(a):
    axis = a.dim % a.self.ndim
    split(a.self, equal_parts(a.self.shape[axis], a.splitSections), axis, a.out)


@split_tensor.limits
def _(a):
    require_rank(a.self, 1, MAX_RANK)
    axis = axis_of("dim", a.dim, a.self.ndim)
    total, size = a.self.shape[axis], a.splitSections
    require((total == 0) == (size == 0), f"splitSections: {size}, dimension {axis} has {total}: both 0 or neither")
    check_split(a.self, equal_parts(total, size), axis, a.out)
