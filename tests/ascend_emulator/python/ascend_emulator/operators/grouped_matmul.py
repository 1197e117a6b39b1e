"""Mixture of experts: grouped products, aclnnGroupedMatmulV4."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOATS,
    INT8,
    INT64,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
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
    x, weight = a.x[0].wide(), a.weight[0]
    made = np.empty(a.out[0].shape, np.float32)
    begin = 0
    for group, end in enumerate(_ends(a)):
        if end > begin:
            made[begin:end] = x[begin:end] @ weight.array[group].astype(np.float32)
            if a.biasOptional:
                made[begin:end] += a.biasOptional[0].wide()[group]
        begin = end
    a.out[0].put(made)


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
    require(a.actType == 0, f"actType: {a.actType}, allowed for x that is not quantised: 0")
    _check_dtypes(a)
    _check_shapes(a)


def _check_dtypes(a):
    x, weight, out = a.x[0], a.weight[0], a.out[0]
    require(INT8 not in (x.dtype, weight.dtype), "x, weight: int8 is not emulated", NOT_EMULATED)
    require_dtype(x, *FLOATS)
    require_same_dtype(x, weight, out)
    for name in _OF_INT8:
        require(not getattr(a, name), f"{name}: given, allowed only for quantised x or weight")
    if a.biasOptional:
        require(len(a.biasOptional) == 1, f"biasOptional: {len(a.biasOptional)} tensors, expected as many as weight, 1")
        require_dtype(a.biasOptional[0], _BIAS_OF[x.dtype])
        require_shape(a.biasOptional[0], (weight.shape[0], weight.shape[-1]))


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
