"""Reading at positions given by tensors. Positions outside a tensor fail where they are used: CANN leaves the result
undefined or reports an error of the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from ascend_emulator.device_tensor import (
    BFLOAT16,
    BOOL,
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
    INTEGERS,
    MAX_RANK,
    REALS,
    UNSIGNED,
    axis_of,
    broadcast_shape,
    require_max_rank,
    store,
)
from ascend_emulator.refusal import RUNTIME_ERROR, require
from ascend_emulator.table import aclnn

NOT_COMPLEX = (*REALS, *INTEGERS, BOOL)


def positions(tensor: DeviceTensor, size: int, lowest: int = 0) -> np.ndarray:
    """A tensor's values as positions along a dimension of `size`. Raises Refused for one outside."""
    values = tensor.array.astype(np.int64)
    if values.size:
        low, high = int(values.min()), int(values.max())
        require(
            lowest <= low and high < size,
            f"{tensor.name}: values from {low} to {high}, allowed: {lowest} to {size - 1}",
            RUNTIME_ERROR,
        )
    return values


@aclnn("aclnnEmbedding(weight: tensor, indices: tensor, out: tensor)", doc="aclnnEmbedding")
def embedding(a):
    store(a.out, a.weight.array[positions(a.indices, a.weight.shape[0])])


@embedding.limits
def _(a):
    require_dtype(a.weight, *COMMON)
    require_rank(a.weight, 2)
    require_dtype(a.indices, INT32, INT64)
    require_same_dtype(a.weight, a.out)
    require_max_rank(a.indices, a.out)
    require_shape(a.out, (*a.indices.shape, a.weight.shape[1]))


@aclnn("aclnnIndexSelect(self: tensor, dim: int, index: tensor, out: tensor)", doc="aclnnIndexSelect")
def index_select(a):
    axis = axis_of("dim", a.dim, a.self.ndim)
    values = np.atleast_1d(a.self.array)
    store(a.out, np.take(values, positions(a.index, values.shape[axis]), axis=axis).reshape(a.out.shape))


@index_select.limits
def _(a):
    require_dtype(a.self, *COMMON, *UNSIGNED)
    require_dtype(a.index, INT32, INT64)
    require_same_dtype(a.self, a.out)
    require_max_rank(a.self)
    require_rank(a.index, 0, 1)
    axis = axis_of("dim", a.dim, a.self.ndim)
    if a.self.ndim:  # an index of no dimensions counts as one position
        require_shape(a.out, (*a.self.shape[:axis], a.index.size, *a.self.shape[axis + 1 :]))


@aclnn("aclnnGather(self: tensor, dim: int, index: tensor, out: tensor)", doc="aclnnGather")
def gather_elements(a):
    values, index = np.atleast_1d(a.self.array), np.atleast_1d(a.index.array)
    axis = axis_of("dim", a.dim, a.self.ndim)
    if not index.size:
        return
    places = np.reshape(positions(a.index, values.shape[axis], -values.shape[axis]), index.shape)
    corner = tuple(slice(None) if i == axis else slice(n) for i, n in enumerate(index.shape))
    store(a.out, np.take_along_axis(values[corner], places, axis).reshape(a.out.shape))


@gather_elements.limits
def _(a):
    require_dtype(a.self, *NOT_COMPLEX, *UNSIGNED)
    require_dtype(a.index, INT32, INT64)
    require_same_dtype(a.self, a.out)
    require_max_rank(a.self)
    require(a.index.ndim == a.self.ndim, f"index: shape {a.index.shape}, needs {a.self.ndim} dimensions like self")
    require_shape(a.out, a.index.shape)
    check_others_fit(a.index, a.self, axis_of("dim", a.dim, a.self.ndim))
    axis = axis_of("dim", a.dim, a.self.ndim)
    require(
        not a.index.size or not a.self.ndim or a.self.shape[axis],
        f"self: shape {a.self.shape}, dimension {axis} is empty",
    )


def check_others_fit(index: DeviceTensor, target: DeviceTensor, axis: int) -> None:
    """Along every dimension but one, the index is no longer than the tensor that it reads or writes."""
    for other in range(index.ndim):
        require(
            other == axis or index.shape[other] <= target.shape[other],
            f"{index.name}: shape {index.shape}, dimension {other} is longer than in {target.name}, {target.shape}",
        )


@aclnn("aclnnIndex(self: tensor, indices: tensors, out: tensor)", doc="aclnnIndex")
def index_tensors(a):
    store(a.out, a.self.array[key_of(a.self, a.indices)].reshape(a.out.shape))


@index_tensors.limits
def _(a):
    require_dtype(a.self, *NOT_COMPLEX)
    require_same_dtype(a.self, a.out)
    require_rank(a.self, 0, MAX_RANK)
    check_indices(a.self, a.indices)
    if all(tensor.dtype != BOOL for tensor in a.indices):  # what a mask selects is known when it runs
        key = tuple(np.zeros(tensor.shape, np.int64) if tensor.size else slice(None) for tensor in a.indices)
        if a.self.size:
            require_shape(a.out, np.broadcast_to(np.False_, a.self.shape)[key].shape)


def check_indices(target: DeviceTensor, indices: list[DeviceTensor]) -> None:
    require(
        1 <= len(indices) <= max(target.ndim, 1),
        f"indices: {len(indices)} tensors, allowed: 1 to {max(target.ndim, 1)} for shape {target.shape}",
    )
    first = 0
    for tensor in indices:
        require_dtype(tensor, INT32, INT64, BOOL)
        if tensor.dtype == BOOL:
            require_shape(tensor, target.shape[first : first + tensor.ndim])
            first += tensor.ndim
        else:
            first += 1


def key_of(target: DeviceTensor, indices: list[DeviceTensor]) -> tuple[Any, ...]:
    """What numpy indexes with. An empty integer tensor stands for a whole dimension."""
    key, axis = [], 0
    for tensor in indices:
        if tensor.dtype == BOOL:
            key.append(tensor.array)
            axis += tensor.ndim
            continue
        size = target.shape[axis]
        key.append(positions(tensor, size, -size) if tensor.size else slice(None))
        axis += 1
    return tuple(key)


# ---- sizes that depend on the data -----------------------------------------------------------------------------------
def nonzero(name: str, is_transposed: bool) -> None:
    """is_transposed: one row for each dimension instead of one for each element found."""

    @aclnn(f"aclnn{name}(self: tensor, out: tensor)", doc=f"aclnn{name}")
    def compute(a: Any) -> None:
        found = np.argwhere(a.self.wide() != 0)
        a.out.put_first(np.ascontiguousarray(found.T) if is_transposed else found)

    @compute.limits
    def _(a: Any) -> None:
        require_dtype(a.self, *NOT_COMPLEX)
        require_dtype(a.out, INT64)
        require_max_rank(a.self)
        most = (a.self.ndim, a.self.size) if is_transposed else (a.self.size, a.self.ndim)
        require_shape(a.out, most)
        require(a.out.is_contiguous, "out: not contiguous, which is not supported")


nonzero("Nonzero", False)
nonzero("NonzeroV2", True)


@aclnn("aclnnMaskedSelect(self: tensor, mask: tensor, out: tensor)", doc="aclnnMaskedSelect")
def masked_select(a):
    values, mask = np.broadcast_arrays(a.self.array, a.mask.array)
    a.out.put_first(values[mask.astype(np.bool_)])


@masked_select.limits
def _(a):
    require_dtype(a.self, *NOT_COMPLEX)
    require_dtype(a.mask, UINT8, BOOL)
    require_same_dtype(a.self, a.out)
    require_max_rank(a.self, a.mask)
    require_shape(a.out, (int(np.prod(broadcast_shape(a.self, a.mask))),))
    require(a.out.is_contiguous, "out: not contiguous, which is not supported")


ONE_HOT = (*(dtype for dtype in REALS[:2] if dtype != BFLOAT16), INT32, INT64)


@aclnn(
    "aclnnOneHot(self: tensor, numClasses: int32, onValue: tensor, offValue: tensor, axis: int, out: tensor)",
    doc="aclnnOneHot",
)
def one_hot(a):
    axis = a.self.ndim if a.axis == -1 else a.axis
    classes = np.arange(a.numClasses).reshape((-1,) + (1,) * (a.self.ndim - axis))
    hits = np.expand_dims(a.self.array, axis) == classes
    store(a.out, np.where(hits, a.onValue.array.reshape(-1)[0], a.offValue.array.reshape(-1)[0]))


@one_hot.limits
def _(a):
    require_dtype(a.self, INT32, INT64)
    require_dtype(a.out, *ONE_HOT)
    require_same_dtype(a.out, a.onValue, a.offValue)
    require_max_rank(a.self, a.onValue, a.offValue, a.out)
    lowest = 0 if a.self.size else 1
    require(a.numClasses >= lowest, f"numClasses: {a.numClasses}, allowed: at least {lowest}")
    require(-1 <= a.axis <= a.self.ndim, f"axis: {a.axis}, allowed: -1 to {a.self.ndim}")
    axis = a.self.ndim if a.axis == -1 else a.axis
    require_shape(a.out, (*a.self.shape[:axis], a.numClasses, *a.self.shape[axis:]))
