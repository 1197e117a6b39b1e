"""Repeating a tensor, or each of its values."""

from __future__ import annotations

from typing import Any

import numpy as np

from ascend_emulator.device_tensor import (
    BOOL,
    FLOATS,
    INT32,
    INT64,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.promotion import (
    COMMON,
    INTEGERS,
    MAX_RANK,
    UNSIGNED,
    axis_of,
    require_max_rank,
    store,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

INNER_NULLPTR = 561103  # ACLNN_ERR_INNER_NULLPTR
EVERY = (*COMMON, *UNSIGNED)


@aclnn("aclnnRepeat(self: tensor, repeats: ints, out: tensor)", doc="aclnnRepeat")
def repeat(a):
    store(a.out, np.tile(a.self.array, a.repeats))


@repeat.limits
def _(a):
    require_dtype(a.self, *EVERY)
    require_same_dtype(a.self, a.out)
    require_max_rank(a.self)
    count = len(a.repeats)
    require(a.self.ndim <= count <= MAX_RANK, f"repeats: {a.repeats}, allowed: {a.self.ndim} to {MAX_RANK} numbers")
    require(min(a.repeats, default=0) >= 0, f"repeats: {a.repeats}, allowed: 0 and more")
    own = (1,) * (count - a.self.ndim) + a.self.shape
    require_shape(a.out, tuple(n * times for n, times in zip(own, a.repeats, strict=True)))
    repeated = sum(times != 1 for times in a.repeats)
    most = 4 if count and a.repeats[0] != 1 else 3
    require(
        repeated <= most, f"repeats: {a.repeats}, {repeated} dimensions are repeated, allowed: {most}", INNER_NULLPTR
    )


REPEATED = (*FLOATS, *INTEGERS, BOOL)


def repeat_each(name: str, repeats: str, has_axis: bool) -> None:
    """repeats: int, the same for all elements; or tensor, one number for each."""
    axis = "dim: int, " if has_axis else ""
    signature = f"aclnn{name}(self: tensor, repeats: {repeats}, {axis}outputSize: int, out: tensor)"

    def laid_out(a: Any) -> tuple[np.ndarray, int]:
        return (a.self.array, a.dim % a.self.ndim) if has_axis else (a.self.array.reshape(-1), 0)

    @aclnn(signature, doc=f"aclnn{name}")
    def compute(a: Any) -> None:
        values, axis = laid_out(a)
        times = a.repeats.array.reshape(-1) if repeats == "tensor" else a.repeats
        result = np.repeat(values, times, axis)
        require_shape(a.out, result.shape)
        store(a.out, result)

    @compute.limits
    def _(a: Any) -> None:
        require_dtype(a.self, *REPEATED)
        require_same_dtype(a.self, a.out)
        require_rank(a.self, 1 if has_axis else 0, MAX_RANK)
        if has_axis:
            axis_of("dim", a.dim, a.self.ndim)
        values, axis = laid_out(a)
        size = values.shape[axis]
        if repeats == "tensor":
            require_dtype(a.repeats, INT32, INT64)
            require_rank(a.repeats, 0, 1)
            require(a.repeats.size in (1, size), f"repeats: {a.repeats.size} numbers, allowed: 1 or {size}")
        else:
            require(a.repeats >= 0, f"repeats: {a.repeats}, allowed: 0 and more")
            require(a.outputSize == size * a.repeats, f"outputSize: {a.outputSize}, expected {size * a.repeats}")
        require_shape(a.out, (*values.shape[:axis], a.outputSize, *values.shape[axis + 1 :]))


repeat_each("RepeatInterleave", "tensor", False)
repeat_each("RepeatInterleaveInt", "int", False)
repeat_each("RepeatInterleaveWithDim", "tensor", True)
repeat_each("RepeatInterleaveIntWithDim", "int", True)
