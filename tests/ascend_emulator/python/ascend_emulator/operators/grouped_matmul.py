"""Mixture of experts: grouped products, aclnnGroupedMatmulV4, of floats and with int8 weights.

Of quantised forms, int8 weights with floats ("antiquant", one scale for each column) and products of int8 by int8 are
emulated; int4, scales as integers and outputs of int8 are not.
"""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOATS,
    HALVES,
    INT8,
    INT32,
    INT64,
    UINT64,
    DeviceTensor,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.operators.quantized import exact_product
from ascend_emulator.refusal import NOT_EMULATED, require
from ascend_emulator.table import aclnn

_BIAS_OF = {FLOAT16: FLOAT16, BFLOAT16: FLOAT32, FLOAT32: FLOAT32}
_RESERVED = (
    "activationInputOptional",
    "activationQuantScaleOptional",
    "activationQuantOffsetOptional",
    "activationFeatureOutOptional",
    "dynQuantScaleOutOptional",
)
_OF_INT8 = (
    "scaleOptional",
    "offsetOptional",
    "antiquantScaleOptional",
    "antiquantOffsetOptional",
    "perTokenScaleOptional",
)


@aclnn(
    "aclnnGroupedMatmulV4(x: tensors, weight: tensors, biasOptional: tensors?, scaleOptional: tensors?, "
    "offsetOptional: tensors?, antiquantScaleOptional: tensors?, antiquantOffsetOptional: tensors?, "
    "perTokenScaleOptional: tensors?, groupListOptional: tensor?, activationInputOptional: tensors?, "
    "activationQuantScaleOptional: tensors?, activationQuantOffsetOptional: tensors?, splitItem: int, groupType: int, "
    "groupListType: int, actType: int, out: tensors, activationFeatureOutOptional: tensors?, "
    "dynQuantScaleOutOptional: tensors?)",
    doc="CANN 8.3.RC1, aclnnGroupedMatmulV4",
)
def grouped_matmul(a):
    """One x, one weight of all groups, one out; groups are rows of x."""
    made = np.empty(a.out[0].shape, np.int32 if a.out[0].dtype == INT32 else np.float32)
    begin = 0
    for group, end in enumerate(_ends(a)):
        if end > begin:
            made[begin:end] = _product(a, slice(begin, end), group)
        begin = end
    a.out[0].put(made)


def _product(a, rows: slice, group: int) -> np.ndarray:
    """Of one group, in float32; of int8 by int8 in float64, which has what int32 does."""
    x, weight, bias = a.x[0], a.weight[0].array[group], a.biasOptional
    if x.dtype == INT8:
        made = exact_product(x.array[rows], weight)
        made = made + bias[0].array[group] if bias else made
        if a.scaleOptional:
            made = made.astype(np.float32) * np.asarray(a.scaleOptional[0].wide()[group], np.float32)
        return made * a.perTokenScaleOptional[0].array[rows, None] if a.perTokenScaleOptional else made
    weight = weight.astype(np.float32)
    if a.antiquantScaleOptional:
        offset, scale = (given[0].wide()[group] for given in (a.antiquantOffsetOptional, a.antiquantScaleOptional))
        weight = (weight + offset) * scale
    made = x.wide()[rows] @ weight
    return made + bias[0].wide()[group] if bias else made


def _ends(a) -> list[int]:
    """Where each group of rows ends. The list is device memory, so its limits are asked here.

    8.1.RC1 forbids a list of sizes (groupListType 1) of length 1; 8.5 says so of groupListType 2 alone, as here.
    """
    groups, rows = a.groupListOptional.array.astype(np.int64), a.x[0].shape[0]
    if a.groupListType == 1:
        require(np.all(groups >= 0), f"groupListOptional: {groups}, the sizes must not be negative")
        groups = np.cumsum(groups)
    else:
        require(
            groups.size == 0 or (groups[0] >= 0 and np.all(np.diff(groups) >= 0)),
            f"groupListOptional: {groups}, the ends must not be negative nor fall",
        )
    last = int(groups[-1]) if groups.size else 0
    require(last == rows, f"groupListOptional: the groups end at row {last}, x has {rows}")
    return groups.tolist()


@grouped_matmul.limits
def _(a):
    for name in _RESERVED:
        require(not getattr(a, name), f"{name}: must be a null pointer")
    require(1 <= len(a.weight) <= 128, f"weight: {len(a.weight)} tensors, allowed: 1 to 128")
    require(a.splitItem in (0, 1, 2, 3), f"splitItem: {a.splitItem}, allowed: 0 to 3")
    require(a.groupType in (-1, 0, 2), f"groupType: {a.groupType}, allowed: -1, 0, 2")
    require(a.groupListType in (0, 1, 2), f"groupListType: {a.groupListType}, allowed: 0, 1, 2")
    require(
        a.groupType == 0 and len(a.x) == len(a.weight) == 1 and a.groupListType != 2,
        f"groupType {a.groupType} with {len(a.x)} x and {len(a.weight)} weight, groupListType {a.groupListType}: only "
        "groupType 0 with one of each and groupListType 0 or 1 is emulated",
        NOT_EMULATED,
    )
    # "Single, single, single" of groupType 0
    require(a.splitItem in (2, 3), f"splitItem: {a.splitItem}, allowed with groupType 0: 2, 3")
    require(len(a.out) == 1, f"out: {len(a.out)} tensors, allowed with splitItem {a.splitItem}: 1")
    is_scaled = a.x[0].dtype == INT8 and a.perTokenScaleOptional
    require(a.actType == 0 or is_scaled, f"actType: {a.actType}, allowed but with scales of tokens: 0")
    require(a.actType == 0, f"actType: {a.actType}, only 0 is emulated", NOT_EMULATED)
    _check_dtypes(a)
    _check_shapes(a)


def _check_dtypes(a):
    x, weight, out = a.x[0], a.weight[0], a.out[0]
    if x.dtype == INT8:
        bias = _check_int8(a)
    elif weight.dtype == INT8:
        bias = _check_int8_weight(a)
    else:
        require_dtype(x, *FLOATS)
        require_same_dtype(x, weight, out)
        _forbid(a, _OF_INT8, "allowed only for quantised x or weight")
        bias = _BIAS_OF[x.dtype]
    if a.biasOptional:
        _require_per_column(a, "biasOptional", bias)


def _check_int8_weight(a) -> np.dtype:
    """x of half precision. The document lists no form without offsets, and its host code refuses one
    (CheckGroupedMatmulAntiQuant of aclnn_grouped_matmul.cpp, ops-transformer, November 2025)."""
    x = a.x[0]
    require_dtype(x, *HALVES)
    require_same_dtype(x, a.out[0])
    for name in ("antiquantScaleOptional", "antiquantOffsetOptional"):
        require(getattr(a, name), f"{name}: must be given with int8 weight and x of {x.dtype}")
        _require_per_column(a, name, x.dtype)
    _forbid(a, ("scaleOptional", "offsetOptional", "perTokenScaleOptional"), "allowed only with x int8")
    return _BIAS_OF[x.dtype]


def _check_int8(a) -> np.dtype:
    """Both int8. The scale's dtype goes with the output's."""
    out = a.out[0]
    require_dtype(a.weight[0], INT8)
    _forbid(a, ("antiquantScaleOptional", "antiquantOffsetOptional"), "allowed only with x of half precision")
    _forbid(a, ("offsetOptional",), "allowed only with int4 weight")
    require(out.dtype != INT8, "out: int8 is not emulated", NOT_EMULATED)
    require_dtype(out, *HALVES, INT32)
    if out.dtype == INT32:
        _forbid(a, ("scaleOptional", "perTokenScaleOptional"), "must be null pointers with out int32")
        return INT32
    require(a.scaleOptional, f"scaleOptional: must be given with x int8 and out {out.dtype}")
    require(a.scaleOptional[0].dtype not in (INT64, UINT64), "scaleOptional: integers are not emulated", NOT_EMULATED)
    _require_per_column(a, "scaleOptional", BFLOAT16 if out.dtype == BFLOAT16 else FLOAT32)
    if a.perTokenScaleOptional:
        tokens = _only(a, "perTokenScaleOptional")
        require_dtype(tokens, FLOAT32)
        require_shape(tokens, a.x[0].shape[:1])
    return INT32


def _only(a, name: str) -> DeviceTensor:
    given = getattr(a, name)
    require(len(given) == 1, f"{name}: {len(given)} tensors, expected as many as weight, 1")
    return given[0]


def _require_per_column(a, name: str, dtype: np.dtype) -> None:
    tensor, weight = _only(a, name), a.weight[0]
    require_dtype(tensor, dtype)
    require_shape(tensor, (weight.shape[0], weight.shape[-1]))


def _forbid(a, names: tuple[str, ...], reason: str) -> None:
    for name in names:
        require(not getattr(a, name), f"{name}: given, {reason}")


def _check_shapes(a):
    x, weight, out, groups = a.x[0], a.weight[0], a.out[0], a.groupListOptional
    require_rank(x, 2)
    require_rank(weight, 3)
    require(groups is not None, "groupListOptional: must be given with groupType 0")
    require_dtype(groups, INT64)
    require_rank(groups, 1)
    count, inner, width = weight.shape
    require(1 <= groups.shape[0] <= 1024, f"groupListOptional: {groups.shape[0]} groups, allowed: 1 to 1024")
    require(groups.shape[0] == count, f"groupListOptional: {groups.shape[0]} groups, weight has {count}")
    require(x.shape[1] == inner, f"x: K {x.shape[1]}, expected that of weight, {inner}")
    require_shape(out, (x.shape[0], width))
    require(x.is_contiguous, f"{x.name}: not contiguous; x must not be transposed with groupType 0")
    is_transposed = weight.size > 0 and not weight.is_contiguous
    if is_transposed:
        require(weight.array.swapaxes(1, 2).flags.c_contiguous, f"{weight.name}: neither contiguous nor transposed")
    for tensor, last in ((x, x.shape[1]), (weight, inner if is_transposed else width)):
        require(last < 65536, f"{tensor.name}: last dimension {last}, allowed: less than 65536")
