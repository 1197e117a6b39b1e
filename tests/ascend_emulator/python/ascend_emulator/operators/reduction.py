"""Reductions of the aclnn interface. Half precision is summed in float32 and rounded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ascend_emulator.device_tensor import (
    BOOL,
    FLOAT32,
    FLOAT64,
    FLOATS,
    INT32,
    INT64,
    UINT8,
    DeviceTensor,
    require_dtype,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.promotion import (
    COMMON,
    COMPLEXES,
    INTEGERS,
    REALS,
    axes_of,
    axis_of,
    converted,
    is_convertible,
    require_convertible,
    require_max_rank,
    store,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

NOT_COMPLEX = (*REALS, *INTEGERS, BOOL)
NOT_BOOL = (*REALS, *INTEGERS, *COMPLEXES)
VALUES_WITH_INDEX = (*FLOATS, INT64, BOOL)


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keep: bool) -> tuple[int, ...]:
    if keep:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def summand(tensor: DeviceTensor, dtype: np.dtype) -> np.ndarray:
    """Values in the dtype that is asked for; half precision stays in float32 until it is stored."""
    return tensor.wide() if dtype.kind in "fV" and tensor.dtype.kind in "fV" else converted(tensor.array, dtype)


def wide_sum(values: np.ndarray, axes: tuple[int, ...], keep: bool) -> np.ndarray:
    if values.dtype.kind == "V":
        values = values.astype(FLOAT32)
    return np.sum(values, axis=axes, keepdims=keep, dtype=values.dtype if values.dtype != BOOL else INT64)


def check_reduction(
    a: Any, axes_name: str, axes: Any, keep: bool, inputs: tuple[np.dtype, ...], outputs: tuple[np.dtype, ...]
) -> tuple[int, ...]:
    """Limits that reductions over a list of dimensions share. Returns the dimensions."""
    require_dtype(a.self, *inputs)
    require_dtype(a.out, *outputs)
    require_max_rank(a.self)
    positive = axes_of(axes_name, axes, a.self.ndim)
    require_shape(a.out, reduced_shape(a.self.shape, positive, keep))
    return positive


@aclnn("aclnnReduceSum(self: tensor, dims: ints, keepDims: bool, dtype: dtype, out: tensor)", doc="aclnnReduceSum")
def reduce_sum(a):
    store(a.out, wide_sum(summand(a.self, a.dtype), axes_of("dims", a.dims, a.self.ndim), a.keepDims))


@reduce_sum.limits
def _(a):
    check_reduction(a, "dims", a.dims, a.keepDims, COMMON, COMMON)
    require(a.dtype == a.out.dtype, f"dtype: {a.dtype}, expected that of out, {a.out.dtype}")
    check_empty(a.self, a.out)


def check_empty(source: DeviceTensor, out: DeviceTensor) -> None:
    require(source.size or out.dtype not in COMPLEXES, f"{out.name}: dtype {out.dtype}, not allowed for an empty input")


def mean_of(tensor: DeviceTensor, axes: tuple[int, ...], keep: bool) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.mean(tensor.wide(), axis=axes, keepdims=keep, dtype=mean_dtype(tensor.dtype))


def mean_dtype(dtype: np.dtype) -> np.dtype:
    return dtype if dtype in (FLOAT64, *COMPLEXES) else FLOAT32


@aclnn("aclnnMean(self: tensor, dim: ints, keepDim: bool, dtype: dtype, out: tensor)", doc="aclnnMean")
def mean(a):
    store(a.out, mean_of(a.self, axes_of("dim", a.dim, a.self.ndim), a.keepDim))


@mean.limits
def _(a):
    check_reduction(a, "dim", a.dim, a.keepDim, NOT_BOOL, NOT_BOOL)
    require(a.dtype in NOT_BOOL, f"dtype: {a.dtype}, allowed: {', '.join(str(d) for d in NOT_BOOL)}")
    require(is_convertible(a.self.dtype, a.dtype), f"self: dtype {a.self.dtype}, not convertible to dtype {a.dtype}")
    require_convertible(a.dtype, a.out)
    check_empty(a.self, a.out)


# ---- largest and smallest --------------------------------------------------------------------------------------------
def extreme(name: str, formula: Callable[..., Any], signature: str) -> None:
    @aclnn(f"aclnn{name}({signature})", doc=f"aclnn{name}")
    def compute(a: Any) -> None:
        axes = axes_of("dim", getattr(a, "dim", None), a.self.ndim)
        store(a.out, formula(a.self.wide(), axis=axes, keepdims=getattr(a, "keepDim", False)).reshape(a.out.shape))

    @compute.limits
    def _(a: Any) -> None:
        require_same_dtype(a.self, a.out)
        if hasattr(a, "dim"):
            axes = check_reduction(a, "dim", a.dim, a.keepDim, NOT_COMPLEX, NOT_COMPLEX)
        else:
            require_dtype(a.self, *NOT_COMPLEX)
            require_max_rank(a.self)
            require(a.out.shape in ((), (1,)), f"out: shape {a.out.shape}, allowed: () or (1,)")
            axes = tuple(range(a.self.ndim))
        empty = [axis for axis in axes if a.self.shape[axis] == 0]
        require(not empty, f"self: shape {a.self.shape}, dimensions {empty} are empty and have no extreme value")


extreme("Amax", np.max, "self: tensor, dim: ints, keepDim: bool, out: tensor")
extreme("Amin", np.min, "self: tensor, dim: ints, keepDim: bool, out: tensor")
extreme("Max", np.max, "self: tensor, out: tensor")
extreme("Min", np.min, "self: tensor, out: tensor")


def first_extreme(values: np.ndarray, axis: int, is_largest: bool) -> np.ndarray:
    """Place of the first largest or smallest value, kept as a dimension of one; NaN counts as the most extreme."""
    find = np.argmax if is_largest else np.argmin
    return np.expand_dims(find(values, axis=axis), axis)


def check_axis_reduction(a: Any, inputs: tuple[np.dtype, ...], *outputs: DeviceTensor) -> int:
    require_dtype(a.self, *inputs)
    require_max_rank(a.self)
    axis = axis_of("dim", a.dim, a.self.ndim)
    if a.self.ndim:
        for out in outputs:
            require_shape(out, reduced_shape(a.self.shape, (axis,), a.keepdim))
        require(a.self.shape[axis] > 0, f"self: shape {a.self.shape}, dimension {axis} is empty")
    return axis


def extreme_with_index(name: str, is_largest: bool, indices: tuple[np.dtype, ...]) -> None:
    signature = f"aclnn{name}(self: tensor, dim: int, keepdim: bool, out: tensor, indices: tensor)"

    @aclnn(signature, doc=f"aclnn{name}")
    def compute(a: Any) -> None:
        values = np.atleast_1d(a.self.array)
        axis = axis_of("dim", a.dim, a.self.ndim)
        places = first_extreme(values.astype(FLOAT32) if values.dtype.kind == "V" else values, axis, is_largest)
        store(a.out, np.take_along_axis(values, places, axis).reshape(a.out.shape))
        store(a.indices, places.reshape(a.indices.shape))

    @compute.limits
    def _(a: Any) -> None:
        check_axis_reduction(a, VALUES_WITH_INDEX, a.out, a.indices)
        require_same_dtype(a.self, a.out)
        require_dtype(a.indices, *indices)


extreme_with_index("MaxDim", True, (INT32, INT64))
extreme_with_index("MinDim", False, (INT32,))


def extreme_index(name: str, is_largest: bool) -> None:
    @aclnn(f"aclnn{name}(self: tensor, dim: int, keepdim: bool, out: tensor)", doc=f"aclnn{name}")
    def compute(a: Any) -> None:
        axis = axis_of("dim", a.dim, a.self.ndim)
        store(a.out, first_extreme(np.atleast_1d(a.self.wide()), axis, is_largest).reshape(a.out.shape))

    @compute.limits
    def _(a: Any) -> None:
        check_axis_reduction(a, (*REALS, *INTEGERS), a.out)
        require_dtype(a.out, INT32, INT64)


extreme_index("ArgMax", True)
extreme_index("ArgMin", False)


# ---- logic and products ----------------------------------------------------------------------------------------------
def logical(name: str, formula: Callable[..., Any], outputs: tuple[np.dtype, ...]) -> None:
    @aclnn(f"aclnn{name}(self: tensor, dim: ints, keepdim: bool, out: tensor)", doc=f"aclnn{name}")
    def compute(a: Any) -> None:
        store(a.out, formula(a.self.wide(), axis=axes_of("dim", a.dim, a.self.ndim), keepdims=a.keepdim))

    @compute.limits
    def _(a: Any) -> None:
        check_reduction(a, "dim", a.dim, a.keepdim, NOT_COMPLEX, outputs)


logical("All", np.all, (BOOL, UINT8))
logical("Any", np.any, (BOOL,))


@aclnn("aclnnProd(self: tensor, dtype: dtype, out: tensor)", doc="aclnnProd")
def product(a):
    store(a.out, np.prod(summand(a.self, a.dtype)).reshape(a.out.shape))


@product.limits
def _(a):
    check_product(a)
    require(a.out.shape in ((), (1,)), f"out: shape {a.out.shape}, allowed: () or (1,)")


def check_product(a: Any) -> None:
    require_dtype(a.self, *COMMON)
    require_dtype(a.out, *COMMON)
    require_max_rank(a.self)
    require(a.dtype == a.out.dtype, f"dtype: {a.dtype}, expected that of out, {a.out.dtype}")
    require(is_convertible(a.self.dtype, a.dtype), f"self: dtype {a.self.dtype}, not convertible to dtype {a.dtype}")
    check_empty(a.self, a.out)


@aclnn("aclnnProdDim(self: tensor, dim: int, keepDim: bool, dtype: dtype, out: tensor)", doc="aclnnProdDim")
def product_of_axis(a):
    values = np.atleast_1d(summand(a.self, a.dtype))
    store(a.out, np.prod(values, axis=axis_of("dim", a.dim, a.self.ndim)).reshape(a.out.shape))


@product_of_axis.limits
def _(a):
    check_product(a)
    axis = axis_of("dim", a.dim, a.self.ndim)
    if a.self.ndim:
        require_shape(a.out, reduced_shape(a.self.shape, (axis,), a.keepDim))


# ---- spread ----------------------------------------------------------------------------------------------------------
@aclnn("aclnnStd(self: tensor, dim: ints?, correction: int, keepdim: bool, out: tensor)", doc="aclnnStd")
def standard_deviation(a):
    values, axes = a.self.wide(), axes_of("dim", a.dim, a.self.ndim)
    count = max(0, int(np.prod([values.shape[axis] for axis in axes])) - a.correction)
    centred = values - np.mean(values, axis=axes, keepdims=True)
    with np.errstate(all="ignore"):
        store(a.out, np.sqrt(np.sum(centred * centred, axis=axes, keepdims=a.keepdim) / np.float32(count)))


@standard_deviation.limits
def _(a):
    check_reduction(a, "dim", a.dim, a.keepdim, FLOATS, FLOATS)
