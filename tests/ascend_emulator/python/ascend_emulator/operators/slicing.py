"""Parts of a tensor along a dimension, and padding around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ascend_emulator.device_tensor import (
    BFLOAT16,
    BOOL,
    FLOAT16,
    FLOAT32,
    INT8,
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
    MAX_RANK,
    UNSIGNED,
    axis_of,
    operand,
    promoted,
    require_max_rank,
    scalar_dtype,
    store,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

EVERY = (*COMMON, *UNSIGNED)


SLICED = (FLOAT32, FLOAT16, BFLOAT16, INT32, INT64, INT8, UINT8, BOOL)


def slice_of(size: int, start: int, end: int, step: int) -> slice:
    start = 0 if start < -size else size if start >= size else start % size
    end = start if end < -size else size if end >= size else max(start, end % size)
    return slice(start, end, step)


@aclnn("aclnnSlice(self: tensor, dim: int, start: int, end: int, step: int, out: tensor)", doc="aclnnSlice")
def slice_tensor(a):
    axis = a.dim % a.self.ndim
    store(a.out, a.self.array[(slice(None),) * axis + (slice_of(a.self.shape[axis], a.start, a.end, a.step),)])


@slice_tensor.limits
def _(a):
    require_dtype(a.self, *SLICED)
    require_same_dtype(a.self, a.out)
    require_rank(a.self, 1, MAX_RANK)
    require(a.step > 0, f"step: {a.step}, allowed: 1 and more")
    axis = axis_of("dim", a.dim, a.self.ndim)
    taken = len(range(*slice_of(a.self.shape[axis], a.start, a.end, a.step).indices(a.self.shape[axis])))
    require_shape(a.out, (*a.self.shape[:axis], taken, *a.self.shape[axis + 1 :]))


def pad_widths(pad: Sequence[int], ndim: int) -> list[tuple[int, int]]:
    """Values before and after, by dimension from the first; the argument begins with the last."""
    pairs = list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    return [(0, 0)] * (ndim - len(pairs)) + pairs


@aclnn("aclnnConstantPadNd(self: tensor, pad: ints, value: scalar, out: tensor)", doc="aclnnConstantPadNd")
def constant_pad(a):
    widths = pad_widths(a.pad, a.self.ndim)
    kept = tuple(slice(max(0, -low), n - max(0, -high)) for n, (low, high) in zip(a.self.shape, widths, strict=True))
    grown = [(max(0, low), max(0, high)) for low, high in widths]
    value = operand(a.value, a.self.dtype).astype(a.self.dtype)
    result = np.full(a.out.shape, value, a.self.dtype)
    inside = tuple(slice(low, n - high) for n, (low, high) in zip(a.out.shape, grown, strict=True))
    result[inside] = a.self.array[kept]
    store(a.out, result)


@constant_pad.limits
def _(a):
    require_dtype(a.self, *EVERY)
    require_same_dtype(a.self, a.out)
    require_max_rank(a.self)
    longest = 2 * a.self.ndim
    require(len(a.pad) % 2 == 0 and len(a.pad) <= longest, f"pad: {a.pad}, allowed: an even count of at most {longest}")
    promoted(a.self.dtype, scalar_dtype(a.value))
    sizes = [n + low + high for n, (low, high) in zip(a.self.shape, pad_widths(a.pad, a.self.ndim), strict=True)]
    require(min(sizes, default=0) >= 0, f"pad: {a.pad}, the output's shape would be {sizes}")
    require_shape(a.out, tuple(sizes))
