"""Writing at positions given by tensors, and adding there."""

from __future__ import annotations

from typing import Any

import numpy as np

from ascend_emulator.device_tensor import (
    BOOL,
    INT32,
    INT64,
    DeviceTensor,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.operators.indexing import check_indices, check_others_fit, key_of, positions
from ascend_emulator.promotion import (
    COMMON,
    COMPLEXES,
    INTEGERS,
    MAX_RANK,
    REALS,
    axis_of,
    is_convertible,
    require_max_rank,
    scalar_dtype,
    store,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

NOT_COMPLEX = (*REALS, *INTEGERS, BOOL)


@aclnn(
    "aclnnIndexPutImpl(selfRef: tensor, indices: tensors, values: tensor, accumulate: bool, unsafe: bool)",
    doc="aclnnIndexPutImpl",
)
def index_put(a):
    key = key_of(a.selfRef, a.indices)
    if not a.accumulate:
        a.selfRef.array[key] = a.values.array
        return
    sums = np.array(a.selfRef.wide())
    np.add.at(sums, key, a.values.wide())
    store(a.selfRef, sums)


@index_put.limits
def _(a):
    require_dtype(a.selfRef, *NOT_COMPLEX)
    require_same_dtype(a.selfRef, a.values)
    require_rank(a.selfRef, 1, MAX_RANK)
    check_indices(a.selfRef, a.indices)


REPLACE, ADD, MULTIPLY = range(3)
COMBINE = {ADD: np.add, MULTIPLY: np.multiply}


def scattered(target: DeviceTensor, dim: int, index: DeviceTensor, source: np.ndarray, reduce: int) -> np.ndarray:
    """The target's values with the source's at the positions of the index along a dimension, in the order of the
    index."""
    axis = axis_of("dim", dim, target.ndim)
    result = np.atleast_1d(np.array(target.wide()))
    places = np.atleast_1d(positions(index, result.shape[axis]))
    key = list(np.indices(places.shape, sparse=True))
    key[axis] = places
    source = np.broadcast_to(source, places.shape)
    if reduce == REPLACE:
        result[tuple(key)] = source
    else:
        COMBINE[reduce].at(result, tuple(np.broadcast_arrays(*key)), source)
    return result.reshape(target.shape)


def corner_of(source: DeviceTensor, index: DeviceTensor) -> np.ndarray:
    return np.atleast_1d(source.wide())[tuple(slice(n) for n in index.shape or (1,))]


def check_scatter(
    target: DeviceTensor, dim: int, index: DeviceTensor, source: DeviceTensor | None, reduce: int
) -> None:
    require_dtype(target, *COMMON)
    require_dtype(index, INT32, INT64)
    require_max_rank(target)
    axis = axis_of("dim", dim, target.ndim)
    require(reduce in (REPLACE, ADD, MULTIPLY), f"reduce: {reduce}, allowed: 0 (none), 1 (add), 2 (multiply)")
    require(index.ndim == target.ndim, f"{index.name}: shape {index.shape}, needs {target.ndim} dimensions")
    check_others_fit(index, target, axis)
    if source is not None:
        require_same_dtype(target, source)
        require(source.ndim == target.ndim, f"{source.name}: shape {source.shape}, needs {target.ndim} dimensions")
        check_others_fit(index, source, -1)


def scatter(name: str, names: tuple[str, str], is_in_place: bool) -> None:
    """names: of the target and of the source, a tensor src or a scalar value."""
    target, source = names
    kind = "tensor" if source == "src" else "scalar"
    out = "" if is_in_place else ", out: tensor"
    signature = f"aclnn{name}({target}: tensor, dim: int, index: tensor, {source}: {kind}, reduce: int{out})"

    @aclnn(signature, doc=f"aclnn{name}")
    def compute(a: Any) -> None:
        to, given = getattr(a, target), getattr(a, source)
        values = corner_of(given, a.index) if kind == "tensor" else np.asarray(given).astype(to.wide().dtype)
        store(to if is_in_place else a.out, scattered(to, a.dim, a.index, values, a.reduce))

    @compute.limits
    def _(a: Any) -> None:
        to, given = getattr(a, target), getattr(a, source)
        check_scatter(to, a.dim, a.index, given if kind == "tensor" else None, a.reduce)
        if kind == "scalar":
            is_complex = scalar_dtype(given) in COMPLEXES
            require(not is_complex or to.dtype in COMPLEXES, f"value: complex, not allowed for {to.dtype}")
        if not is_in_place:
            require_same_dtype(to, a.out)
            require_shape(a.out, to.shape)


scatter("Scatter", ("self", "src"), False)
scatter("InplaceScatter", ("selfRef", "src"), True)
scatter("ScatterValue", ("self", "value"), False)
scatter("InplaceScatterValue", ("selfRef", "value"), True)


@aclnn("aclnnScatterAdd(self: tensor, dim: int, index: tensor, src: tensor, out: tensor)", doc="aclnnScatterAdd")
def scatter_add(a):
    store(a.out, scattered(a.self, a.dim, a.index, corner_of(a.src, a.index), ADD))


@scatter_add.limits
def _(a):
    check_scatter(a.self, a.dim, a.index, a.src, ADD)
    require_same_dtype(a.self, a.out)
    require_shape(a.out, a.self.shape)
    for tensor in (a.src, a.out):
        require(tensor.is_contiguous, f"{tensor.name}: not contiguous, which is not supported")


@aclnn(
    "aclnnIndexAdd(self: tensor, dim: int, index: tensor, source: tensor, alpha: scalar, out: tensor)",
    doc="aclnnIndexAdd",
)
def index_add(a):
    axis = axis_of("dim", a.dim, a.self.ndim)
    result, source = np.atleast_1d(np.array(a.self.wide())), np.atleast_1d(a.source.wide())
    places = np.atleast_1d(positions(a.index, result.shape[axis]))
    key = (slice(None),) * axis + (places,)
    np.add.at(result, key, source * np.asarray(a.alpha).astype(source.dtype))
    store(a.out, result.reshape(a.out.shape))


@index_add.limits
def _(a):
    require_dtype(a.self, *NOT_COMPLEX)
    require_same_dtype(a.self, a.source, a.out)
    require_dtype(a.index, INT32, INT64)
    require_max_rank(a.self)
    require_rank(a.index, 0, 1)
    require_shape(a.out, a.self.shape)
    axis = axis_of("dim", a.dim, a.self.ndim)
    if a.self.ndim:
        require_shape(a.source, (*a.self.shape[:axis], a.index.size, *a.self.shape[axis + 1 :]))
    alpha = scalar_dtype(a.alpha)
    require(is_convertible(alpha, a.self.dtype), f"alpha: dtype {alpha}, not convertible to {a.self.dtype}")
