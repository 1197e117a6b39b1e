"""Legacy operators that slice, join, repeat, fill, cast and sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from ascend_emulator.device_tensor import (
    ACL_DTYPES,
    BFLOAT16,
    BOOL,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    DeviceTensor,
)
from ascend_emulator.legacy import (
    ANY_COUNT,
    ATTRIBUTE_NOT_MATCH,
    BASIC,
    INDEX,
    further,
    legacy,
    number,
    numbers,
    require_output,
)
from ascend_emulator.operators.creation import steps_between
from ascend_emulator.operators.reduction import reduced_shape, wide_sum
from ascend_emulator.promotion import axes_of, axis_of, store
from ascend_emulator.refusal import NOT_EMULATED, require

ANY = (*BASIC, BOOL)
MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def slice_key(a: Any) -> tuple[Any, ...]:
    """What numpy indexes with for the slice that begin, end, strides and the masks describe."""
    begin, end, strides = (numbers(tensor) for tensor in a.inputs[1:])
    masks = {name: a.attributes.get(name, 0) for name in MASKS}
    key = []
    for i, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        if masks["ellipsis_mask"] >> i & 1:
            key.append(Ellipsis)
        elif masks["new_axis_mask"] >> i & 1:
            key.append(None)
        elif masks["shrink_axis_mask"] >> i & 1:
            key.append(first)
        else:
            first = None if masks["begin_mask"] >> i & 1 else first
            key.append(slice(first, None if masks["end_mask"] >> i & 1 else last, step))
    return tuple(key)


@legacy("StridedSlice", (4,), MASKS, dtypes=(BASIC, INDEX, INDEX, INDEX))
def strided_slice(a):
    a.outputs[0].array[...] = a.inputs[0].array[slice_key(a)]


@further(strided_slice)
def _(a):
    values, begin, end, strides = a.inputs
    sizes = {tensor.shape for tensor in (begin, end, strides)}
    require(len(sizes) == 1 and begin.ndim == 1, f"begin, end and strides: shapes {sizes}, allowed: one shape, (n,)")
    require(
        begin.size <= max(values.ndim, 1) or a.attributes.get("new_axis_mask", 0),
        f"begin: {begin.size} numbers for shape {values.shape}",
    )
    require(0 not in numbers(strides), "strides: 0, allowed: any other number")
    try:
        shape = np.empty(values.shape, np.bool_)[slice_key(a)].shape
    except IndexError as error:
        require(False, f"begin: {error}")
    require_output(a, shape, values.dtype)


@legacy("Transpose", (2,), dtypes=(ANY, INDEX))
def transpose(a):
    a.outputs[0].array[...] = np.transpose(a.inputs[0].array, numbers(a.inputs[1]))


@further(transpose)
def _(a):
    values, order = a.inputs[0], numbers(a.inputs[1])
    require(
        sorted(order) == list(range(values.ndim)),
        f"input 1 (perm): {order}, allowed: an order of {values.ndim} dimensions",
    )
    require_output(a, tuple(values.shape[axis] for axis in order), values.dtype)


def check_same_dtype(tensors: list[DeviceTensor]) -> None:
    for tensor in tensors:
        require(tensor.dtype == tensors[0].dtype, f"{tensor.name}: dtype {tensor.dtype}, expected {tensors[0].dtype}")


@legacy("Pack", ANY_COUNT, ("axis", "N"), dtypes=(ANY,))
def pack(a):
    a.outputs[0].array[...] = np.stack([tensor.array for tensor in a.inputs], a.attributes.get("axis", 0))


@further(pack)
def _(a):
    check_same_dtype(a.inputs)
    first = a.inputs[0]
    for tensor in a.inputs:
        require(tensor.shape == first.shape, f"{tensor.name}: shape {tensor.shape}, expected {first.shape}")
    axis = axis_of("axis", a.attributes.get("axis", 0), first.ndim + 1)
    require_output(a, (*first.shape[:axis], len(a.inputs), *first.shape[axis:]), first.dtype)


@legacy("ConcatD", ANY_COUNT, ("N",), required=("concat_dim",), dtypes=(ANY,))
def concat(a):
    a.outputs[0].array[...] = np.concatenate([tensor.array for tensor in a.inputs], a.attributes["concat_dim"])


@further(concat)
def _(a):
    check_same_dtype(a.inputs)
    first = a.inputs[0]
    axis = axis_of("concat_dim", a.attributes["concat_dim"], first.ndim)
    for tensor in a.inputs:
        same = tensor.shape[:axis] + tensor.shape[axis + 1 :] == first.shape[:axis] + first.shape[axis + 1 :]
        require(same, f"{tensor.name}: shape {tensor.shape}, must be {first.shape} but for dimension {axis}")
    total = sum(tensor.shape[axis] for tensor in a.inputs)
    require_output(a, (*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)


@legacy("SplitV", (3,), (), required=("num_split",), outputs=ANY_COUNT, dtypes=(ANY, INDEX, INDEX))
def split(a):
    values, sizes, axis = a.inputs
    axis, start = axis_of("split_dim", number(axis), values.ndim), 0
    for out, size in zip(a.outputs, numbers(sizes), strict=True):
        out.array[...] = values.array[(slice(None),) * axis + (slice(start, start + size),)]
        start += size


@further(split)
def _(a):
    values, sizes, axis = a.inputs[0], numbers(a.inputs[1]), number(a.inputs[2])
    axis = axis_of("split_dim", axis, values.ndim)
    counts = {len(sizes), len(a.outputs), a.attributes["num_split"]}
    require(len(counts) == 1, f"size_splits, outputs and num_split: {sorted(counts)}, must be equal")
    require(sum(sizes) == values.shape[axis], f"size_splits: {sizes}, their sum must be {values.shape[axis]}")
    for place, size in enumerate(sizes):
        require_output(a, (*values.shape[:axis], size, *values.shape[axis + 1 :]), values.dtype, place)


@legacy("BroadcastTo", (2,), dtypes=(ANY, INDEX))
def broadcast_to(a):
    a.outputs[0].array[...] = np.broadcast_to(a.inputs[0].array, a.outputs[0].shape)


@further(broadcast_to)
def _(a):
    values, shape = a.inputs[0], tuple(numbers(a.inputs[1]))
    require_output(a, shape, values.dtype)
    try:
        np.broadcast_to(values.array, shape)
    except ValueError:
        require(False, f"input 0: shape {values.shape} does not broadcast to {shape}")


@legacy("Tile", (2,), dtypes=(ANY, INDEX))
def tile(a):
    a.outputs[0].array[...] = np.tile(a.inputs[0].array, numbers(a.inputs[1]))


@further(tile)
def _(a):
    values, times = a.inputs[0], numbers(a.inputs[1])
    require(len(times) >= values.ndim, f"input 1 (multiples): {times}, allowed: at least {values.ndim} numbers")
    require(min(times, default=1) >= 0, f"input 1 (multiples): {times}, allowed: 0 and more")
    own = (1,) * (len(times) - values.ndim) + values.shape
    require_output(a, tuple(n * m for n, m in zip(own, times, strict=True)), values.dtype)


@legacy("Fill", (2,), dtypes=(INDEX, ANY))
def fill(a):
    a.outputs[0].array[...] = a.inputs[1].array.reshape(())


@further(fill)
def _(a):
    require(a.inputs[1].size == 1, f"input 1 (value): shape {a.inputs[1].shape}, allowed: one value")
    require_output(a, tuple(numbers(a.inputs[0])), a.inputs[1].dtype)


RANGED = (FLOAT16, FLOAT32, INT32, FLOAT64, INT64, BFLOAT16)


@legacy("Range", (3,), ("is_closed",), dtypes=(RANGED,))
def sequence(a):
    start, _, step = (tensor.wide().reshape(-1)[0] for tensor in a.inputs)
    store(a.outputs[0], start + np.arange(a.outputs[0].size) * step)


@further(sequence)
def _(a):
    check_same_dtype(a.inputs)
    start, limit, step = (tensor.wide().reshape(-1)[0] for tensor in a.inputs)
    require(step != 0, "input 2 (delta): 0, allowed: any other number")
    require(not a.attributes.get("is_closed"), "is_closed: true is not emulated", NOT_EMULATED)
    require_output(a, (steps_between(start, limit, step),), a.inputs[0].dtype)


@legacy("Cast", (1,), required=("dst_type",), dtypes=(ANY,))
def cast(a):
    store(a.outputs[0], a.inputs[0].array)


@further(cast)
def _(a):
    target = ACL_DTYPES.get(a.attributes["dst_type"])
    require(target is not None, f"dst_type: {a.attributes['dst_type']} is not emulated", ATTRIBUTE_NOT_MATCH)
    require_output(a, a.inputs[0].shape, target)


@legacy("ReduceSum", (2,), ("keep_dims", "noop_with_empty_axes"), dtypes=(BASIC, INDEX))
def reduce_sum(a):
    values, axes = a.inputs[0], summed_axes(a)
    store(a.outputs[0], wide_sum(values.wide(), axes, bool(a.attributes.get("keep_dims", False))))


def summed_axes(a: Any) -> tuple[int, ...]:
    """No axes mean none at all unless noop_with_empty_axes is false."""
    axes = numbers(a.inputs[1])
    if not axes and a.attributes.get("noop_with_empty_axes", True):
        return ()
    return axes_of("axes", axes, a.inputs[0].ndim)


@further(reduce_sum)
def _(a):
    values = a.inputs[0]
    shape = reduced_shape(values.shape, summed_axes(a), bool(a.attributes.get("keep_dims", False)))
    require_output(a, shape, values.dtype)
