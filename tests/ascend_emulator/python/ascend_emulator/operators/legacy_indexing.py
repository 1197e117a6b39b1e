"""Legacy operators that read, write or order by position."""

from __future__ import annotations

from typing import Any

import numpy as np

from ascend_emulator.device_tensor import BOOL, FLOATS, INT8, INT32, INT64, UINT8, require_dtype
from ascend_emulator.legacy import BASIC, INDEX, REAL_NUMBERS, further, legacy, number, numbers, require_output
from ascend_emulator.operators.indexing import positions
from ascend_emulator.operators.ordering import running_sum, sorted_places
from ascend_emulator.promotion import COMPLEXES, REALS, UNSIGNED, axis_of, compute_dtype, store
from ascend_emulator.refusal import NOT_EMULATED, RUNTIME_ERROR, require

ANY = (*BASIC, BOOL)
SCATTERED = (*FLOATS, INT32, INT8, UINT8, INT64, *UNSIGNED[1:])


@legacy("ScatterUpdate", (3,), ("use_locking",), dtypes=(SCATTERED, INDEX, SCATTERED))
def scatter_update(a):
    var, indices, updates = a.inputs
    var.array[positions(indices, var.shape[0])] = updates.array
    if not np.shares_memory(var.array, a.outputs[0].array):
        a.outputs[0].array[...] = var.array


@further(scatter_update)
def _(a):
    var, indices, updates = a.inputs
    require(var.ndim >= 1, f"input 0: shape {var.shape}, allowed: 1 to 8 dimensions")
    require(updates.dtype == var.dtype, f"input 2: dtype {updates.dtype}, expected that of input 0, {var.dtype}")
    expected = (*indices.shape, *var.shape[1:])
    require(updates.shape == expected, f"input 2: shape {updates.shape}, expected {expected}")
    require_output(a, var.shape, var.dtype)


@legacy("GatherV2", (3,), ("batch_dims", "is_preprocessed", "negative_index_support"), dtypes=(ANY, INDEX, INDEX))
def gather(a):
    values, indices, axis = a.inputs
    axis = axis_of("axis", number(axis), values.ndim)
    size = values.shape[axis]
    lowest = -size if a.attributes.get("negative_index_support") else 0
    a.outputs[0].array[...] = np.take(values.array, positions(indices, size, lowest), axis)


@further(gather)
def _(a):
    values, indices, axis = a.inputs
    axis = axis_of("axis", number(axis), values.ndim)
    require(a.attributes.get("batch_dims", 0) == 0, "batch_dims: only 0 is emulated", NOT_EMULATED)
    require_output(a, (*values.shape[:axis], *indices.shape, *values.shape[axis + 1 :]), values.dtype)


@legacy("GatherNd", (2,), ("negative_index_support",), dtypes=(ANY, INDEX))
def gather_nd(a):
    values, indices = a.inputs
    a.outputs[0].array[...] = values.array[nd_key(values, indices, a.attributes.get("negative_index_support"))]


def nd_key(target: Any, indices: Any, is_negative_allowed: object = False) -> tuple[np.ndarray, ...]:
    places = indices.array.astype(np.int64)
    for axis in range(places.shape[-1]):
        size, found = target.shape[axis], places[..., axis]
        lowest = -size if is_negative_allowed else 0
        fits = not found.size or (found.min() >= lowest and found.max() < size)
        require(fits, f"{indices.name}: a position outside {lowest} to {size - 1} for dimension {axis}", RUNTIME_ERROR)
    return tuple(np.moveaxis(places, -1, 0))


@further(gather_nd)
def _(a):
    values, indices = a.inputs
    check_nd_indices(values, indices)
    require_output(a, (*indices.shape[:-1], *values.shape[indices.shape[-1] :]), values.dtype)


def check_nd_indices(target: Any, indices: Any) -> None:
    require(
        indices.ndim >= 1 and indices.shape[-1] <= target.ndim,
        f"input 1: shape {indices.shape}, its last dimension is allowed up to {target.ndim}",
    )


@legacy("TensorScatterUpdate", (3,), dtypes=(ANY, INDEX, ANY))
def tensor_scatter_update(a):
    target, indices, updates = a.inputs
    result = target.array.copy()
    result[nd_key(target, indices)] = updates.array
    a.outputs[0].array[...] = result


@further(tensor_scatter_update)
def _(a):
    target, indices, updates = a.inputs
    check_nd_indices(target, indices)
    require(updates.dtype == target.dtype, f"input 2: dtype {updates.dtype}, expected {target.dtype}")
    expected = (*indices.shape[:-1], *target.shape[indices.shape[-1] :])
    require(updates.shape == expected, f"input 2: shape {updates.shape}, expected {expected}")
    require_output(a, target.shape, target.dtype)


TOP_K = ("sorted", "largest", "dim")


def top_k(a: Any) -> None:
    values, k = a.inputs
    axis, largest = a.attributes.get("dim", -1), a.attributes.get("largest", True)
    places = np.take(sorted_places(values.wide(), axis, bool(largest)), np.arange(number(k)), axis=axis)
    a.outputs[0].array[...] = np.take_along_axis(values.array, places, axis)
    store(a.outputs[1], places)


def top_k_limits(indices: tuple[np.dtype, ...]) -> Any:
    def check(a: Any) -> None:
        values, k = a.inputs
        axis = axis_of("dim", a.attributes.get("dim", -1), values.ndim)
        count = number(k)
        require(0 <= count <= values.shape[axis], f"input 1 (k): {count}, allowed: 0 to {values.shape[axis]}")
        shape = (*values.shape[:axis], count, *values.shape[axis + 1 :])
        require_output(a, shape, values.dtype)
        require_dtype(a.outputs[1], *indices)
        require_output(a, shape, a.outputs[1].dtype, 1)

    return check


top_k_1 = legacy("TopK", (2,), TOP_K, outputs=(2,), dtypes=(REAL_NUMBERS, (INT32,)))(top_k)
further(top_k_1)(top_k_limits((INT32,)))
top_k_2 = legacy("TopKV2", (2,), (*TOP_K, "indices_dtype"), outputs=(2,), dtypes=(REAL_NUMBERS, INDEX))(top_k)
further(top_k_2)(top_k_limits(INDEX))


@legacy("ArgMaxV2", (2,), ("dtype",), dtypes=(BASIC, INDEX))
def arg_max(a):
    values, axis = a.inputs
    store(a.outputs[0], np.argmax(values.wide(), axis_of("dimension", number(axis), values.ndim)))


@further(arg_max)
def _(a):
    values, axis = a.inputs
    axis = axis_of("dimension", number(axis), values.ndim)
    out = a.outputs[0]
    require(out.dtype in INDEX, f"output 0: dtype {out.dtype}, allowed: int32, int64")
    require_output(a, values.shape[:axis] + values.shape[axis + 1 :], out.dtype)


SUMMED = (*REALS, *REAL_NUMBERS, *COMPLEXES)


@legacy("Cumsum", (2,), ("exclusive", "reverse"), dtypes=(SUMMED, INDEX))
def cumsum(a):
    values, axis = a.inputs
    axis, wide = axis_of("axis", number(axis), values.ndim), values.wide()
    turned = np.flip(wide, axis) if a.attributes.get("reverse") else wide
    sums = running_sum(turned, axis, compute_dtype(values.dtype))
    sums = sums - turned if a.attributes.get("exclusive") else sums
    store(a.outputs[0], np.flip(sums, axis) if a.attributes.get("reverse") else sums)


@further(cumsum)
def _(a):
    axis_of("axis", number(a.inputs[1]), a.inputs[0].ndim)
    require_output(a, a.inputs[0].shape, a.inputs[0].dtype)


@legacy("OneHot", (4,), ("axis",), dtypes=((UINT8, INT32, INT64), INDEX, BASIC, BASIC))
def one_hot(a):
    classes, depth, on, off = a.inputs
    axis = a.attributes.get("axis", -1) % (classes.ndim + 1)
    wanted = np.arange(number(depth)).reshape((-1,) + (1,) * (classes.ndim - axis))
    hits = np.expand_dims(classes.array, axis) == wanted
    a.outputs[0].array[...] = np.where(hits, on.array.reshape(-1)[0], off.array.reshape(-1)[0])


@further(one_hot)
def _(a):
    classes, depth, on, off = a.inputs
    axis = axis_of("axis", a.attributes.get("axis", -1), classes.ndim + 1)
    require(on.dtype == off.dtype, f"input 3: dtype {off.dtype}, expected that of input 2, {on.dtype}")
    require_output(a, (*classes.shape[:axis], numbers(depth)[0], *classes.shape[axis:]), on.dtype)
