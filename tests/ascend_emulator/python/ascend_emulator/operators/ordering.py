"""Sorting, the k largest, cumulative sums and places in a sorted sequence."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import (
    BFLOAT16,
    BOOL,
    FLOATS,
    HALVES,
    INT32,
    INT64,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.promotion import (
    COMPLEXES,
    INTEGERS,
    MAX_RANK,
    REALS,
    axis_of,
    is_convertible,
    promoted,
    require_max_rank,
    store,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn


def sorted_places(values: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    """Places that sort the values; equal values keep their order, NaN counts as the largest."""
    if not descending:
        return np.argsort(values, axis=axis, kind="stable")
    size = values.shape[axis]
    backwards = np.argsort(np.flip(values, axis), axis=axis, kind="stable")
    return np.flip(size - 1 - backwards, axis)


@aclnn(
    "aclnnSort(self: tensor, stable: bool, dim: int, descending: bool, valuesOut: tensor, indicesOut: tensor)",
    doc="aclnnSort",
)
def sort(a):
    places = sorted_places(a.self.wide(), a.dim, a.descending)
    store(a.valuesOut, np.take_along_axis(a.self.array, places, a.dim))
    store(a.indicesOut, places)


@sort.limits
def _(a):
    require_dtype(a.self, *FLOATS, *INTEGERS, BOOL)
    require_same_dtype(a.self, a.valuesOut)
    require_dtype(a.indicesOut, INT64)
    require_rank(a.self, 1, MAX_RANK)
    axis = axis_of("dim", a.dim, a.self.ndim)
    require_shape(a.valuesOut, a.self.shape)
    require_shape(a.indicesOut, a.self.shape)
    require(
        a.self.dtype != BFLOAT16 or a.self.shape[axis] != 1,
        f"self: shape {a.self.shape}, dimension {axis} of bfloat16 values must not be 1 on A2 and A3 cards",
    )


@aclnn(
    "aclnnTopk(self: tensor, k: int, dim: int, largest: bool, sorted: bool, valuesOut: tensor, indicesOut: tensor)",
    doc="aclnnTopk",
)
def top_k(a):
    places = np.take(sorted_places(a.self.wide(), a.dim, a.largest), np.arange(a.k), axis=a.dim)
    store(a.valuesOut, np.take_along_axis(a.self.array, places, a.dim))
    store(a.indicesOut, places)


@top_k.limits
def _(a):
    require_dtype(a.self, *REALS, *INTEGERS)
    require_same_dtype(a.self, a.valuesOut)
    require_dtype(a.indicesOut, INT64)
    require_rank(a.self, 1, MAX_RANK)
    axis = axis_of("dim", a.dim, a.self.ndim)
    require(
        0 <= a.k <= a.self.shape[axis], f"k: {a.k}, allowed: 0 to {a.self.shape[axis]}, the size of dimension {axis}"
    )
    require(a.sorted, "sorted: False, allowed: only True")
    expected = (*a.self.shape[:axis], a.k, *a.self.shape[axis + 1 :])
    require_shape(a.valuesOut, expected)
    require_shape(a.indicesOut, expected)


SUMMED = (*REALS, *INTEGERS, *COMPLEXES)


def running_sum(values: np.ndarray, axis: int, dtype: np.dtype) -> np.ndarray:
    return np.cumsum(np.atleast_1d(values), axis=axis, dtype=dtype).reshape(values.shape)


@aclnn("aclnnCumsum(self: tensor, dim: int, dtype: dtype, out: tensor)", doc="aclnnCumsum")
def cumsum(a):
    dtype = np.dtype(np.float32) if a.dtype in HALVES else a.dtype
    store(a.out, running_sum(a.self.wide().astype(dtype), axis_of("dim", a.dim, a.self.ndim), dtype))


@cumsum.limits
def _(a):
    require_dtype(a.self, *SUMMED)
    require_dtype(a.out, *SUMMED)
    require_max_rank(a.self)
    require_shape(a.out, a.self.shape)
    axis_of("dim", a.dim, a.self.ndim)
    require(a.dtype == a.out.dtype, f"dtype: {a.dtype}, expected that of out, {a.out.dtype}")
    require(is_convertible(a.self.dtype, a.out.dtype), f"self: dtype {a.self.dtype}, not convertible to {a.out.dtype}")


SEARCHED = (*(dtype for dtype in REALS if dtype != BFLOAT16), *INTEGERS)


@aclnn(
    "aclnnSearchSorted(sortedSequence: tensor, self: tensor, outInt32: bool, right: bool, sorter: tensor?, "
    "out: tensor)",
    doc="aclnnSearchSorted",
)
def search_sorted(a):
    sequences = a.sortedSequence.wide()
    if a.sorter is not None:
        sequences = np.take_along_axis(sequences, a.sorter.array, -1)
    values, side = a.self.wide(), "right" if a.right else "left"
    if sequences.ndim == 1:
        store(a.out, np.searchsorted(sequences, values, side))
        return
    rows = zip(sequences.reshape(-1, sequences.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
    store(a.out, np.reshape([np.searchsorted(row, wanted, side) for row, wanted in rows], a.out.shape))


@search_sorted.limits
def _(a):
    require_dtype(a.sortedSequence, *SEARCHED)
    require_dtype(a.self, *SEARCHED)
    require_dtype(a.out, INT32 if a.outInt32 else INT64)
    require_max_rank(a.sortedSequence, a.self)
    promoted(a.sortedSequence.dtype, a.self.dtype)
    require_shape(a.out, a.self.shape)
    if a.sorter is not None:
        require_dtype(a.sorter, INT64)
        require_shape(a.sorter, a.sortedSequence.shape)
    leading = a.sortedSequence.shape[:-1]
    require(
        not leading or a.self.shape[:-1] == leading,
        f"self: shape {a.self.shape}, all but the last dimension must be those of sortedSequence, {leading}",
    )
