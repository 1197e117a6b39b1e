"""Mixture of experts: gating, routing, grouped products, and summing up."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import (
    BFLOAT16,
    BOOL,
    FLOAT16,
    FLOAT32,
    FLOATS,
    INT8,
    INT32,
    INT64,
    DeviceTensor,
    require_contiguous,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.refusal import NOT_EMULATED, TILING_ERROR, require
from ascend_emulator.table import aclnn


@aclnn(
    "aclnnMoeGatingTopKSoftmax(x: tensor, finishedOptional: tensor?, k: int, yOut: tensor, expertIdxOut: tensor, "
    "rowIdxOut: tensor)",
    doc="CANN 8.3.RC1, aclnnMoeGatingTopKSoftmax",
)
def moe_gating_top_k_softmax(a):
    x = a.x.wide()
    weights = np.exp(x - x.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    chosen = np.argsort(-weights, axis=-1, kind="stable")[..., : a.k]
    a.yOut.put(np.take_along_axis(weights, chosen, -1))
    if a.finishedOptional is not None:
        chosen = np.where(a.finishedOptional.array[..., None], x.shape[-1], chosen)
    a.expertIdxOut.put(chosen)
    rows = chosen.size // a.k if a.k else 0
    a.rowIdxOut.put(np.arange(chosen.size).reshape(a.k, rows).T.reshape(chosen.shape))


@moe_gating_top_k_softmax.limits
def _(a):
    require_dtype(a.x, *FLOATS)
    require_same_dtype(a.x, a.yOut)
    require_dtype(a.expertIdxOut, INT32)
    require_dtype(a.rowIdxOut, INT32)
    require_rank(a.x, 2, 3)
    require(a.x.size > 0, f"x: shape {a.x.shape}, an empty tensor is not allowed", TILING_ERROR)
    most = min(a.x.shape[-1], 1024)
    require(0 <= a.k <= most, f"k: {a.k}, allowed with {a.x.shape[-1]} experts: 0 to {most}", TILING_ERROR)
    if a.finishedOptional is not None:
        require_dtype(a.finishedOptional, BOOL)
        require_shape(a.finishedOptional, a.x.shape[:-1])
    for out in (a.yOut, a.expertIdxOut, a.rowIdxOut):
        require_shape(out, (*a.x.shape[:-1], a.k))
        require_contiguous(out)


@aclnn(
    "aclnnMoeInitRoutingV2(x: tensor, expertIdx: tensor, activeNum: int, expertCapacity: int, expertNum: int, "
    "dropPadMode: int, expertTokensCountOrCumsumFlag: int, expertTokensBeforeCapacityFlag: bool, "
    "expandedXOut: tensor, expandedRowIdxOut: tensor, expertTokensCountOrCumsumOut: tensor?, "
    "expertTokensBeforeCapacityOut: tensor?)",
    doc="CANN 8.3.RC1, aclnnMoeInitRoutingV2",
)
def moe_init_routing(a):
    experts = a.expertIdx.array.reshape(-1)
    is_counted = a.dropPadMode == 1 or a.expertTokensCountOrCumsumFlag > 0
    # Device memory, so asked here
    require(
        experts.size == 0 or (experts.min() >= 0 and (not is_counted or experts.max() < a.expertNum)),
        f"expertIdx: values {_span(experts)}, allowed: 0 to {a.expertNum - 1}",
    )
    order = np.argsort(experts, kind="stable")
    counts = np.bincount(experts, minlength=a.expertNum)
    source = order // a.expertIdx.shape[1]
    if a.dropPadMode == 1:
        places = _dropped(a, experts, order, counts, source)
    else:
        places = np.empty(experts.size, np.int32)
        places[order] = np.arange(experts.size)
        kept = order.size if a.activeNum == 0 else min(a.activeNum, order.size)
        a.expandedXOut.put(a.x.array[source[:kept]])
        if a.expertTokensCountOrCumsumFlag:
            given = np.cumsum(counts) if a.expertTokensCountOrCumsumFlag == 1 else counts
            a.expertTokensCountOrCumsumOut.put(given)
    a.expandedRowIdxOut.put(places)


def _span(values: np.ndarray) -> str:
    return f"from {values.min()} to {values.max()}" if values.size else "none"


def _dropped(a, experts, order, counts, source):
    """Mode 1: each expert takes expertCapacity rows; rows beyond are dropped (place -1), missing ones are zero."""
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    places = np.full(experts.size, -1, np.int32)
    out = np.zeros(a.expandedXOut.shape, a.x.dtype)
    for at, index in enumerate(order):
        expert = experts[index]
        within = at - first[expert]
        if within < a.expertCapacity:
            out[expert, within] = a.x.array[source[at]]
            places[index] = expert * a.expertCapacity + within
    a.expandedXOut.put(out)
    if a.expertTokensBeforeCapacityFlag:
        a.expertTokensBeforeCapacityOut.put(counts)
    return places


@moe_init_routing.limits
def _(a):
    require_dtype(a.x, *FLOATS)
    require_dtype(a.expertIdx, INT32)
    require_same_dtype(a.x, a.expandedXOut)
    require_dtype(a.expandedRowIdxOut, INT32)
    for name in ("activeNum", "expertCapacity", "expertNum"):
        require(getattr(a, name) >= 0, f"{name}: {getattr(a, name)}, allowed: at least 0", TILING_ERROR)
    require(a.dropPadMode in (0, 1), f"dropPadMode: {a.dropPadMode}, allowed: 0, 1", TILING_ERROR)
    flag = a.expertTokensCountOrCumsumFlag
    require(flag in (0, 1, 2), f"expertTokensCountOrCumsumFlag: {flag}, allowed: 0, 1, 2", TILING_ERROR)
    for tensor in (a.x, a.expertIdx):
        require(tensor.ndim == 2, f"{tensor.name}: shape {tensor.shape}, allowed: 2 dimensions", TILING_ERROR)
    rows, k = a.expertIdx.shape
    require(a.x.shape[0] == rows, f"expertIdx: {rows} rows, expected those of x, {a.x.shape[0]}", TILING_ERROR)
    require_shape(a.expandedRowIdxOut, (rows * k,))
    if a.dropPadMode == 1:
        capacity = a.expertCapacity
        require(0 < capacity <= rows, f"expertCapacity: {capacity}, allowed: 1 to {rows} rows", TILING_ERROR)
        expanded = (a.expertNum, capacity, a.x.shape[1])
    else:
        expanded = (min(a.activeNum or rows * k, rows * k), a.x.shape[1])
    require(a.expertNum > 0 or not (flag or a.dropPadMode), "expertNum: 0, although experts are counted", TILING_ERROR)
    require_shape(a.expandedXOut, expanded)
    outs = [a.expandedXOut, a.expandedRowIdxOut]
    if flag and a.dropPadMode == 0:
        outs.append(_counts(a.expertTokensCountOrCumsumOut, "expertTokensCountOrCumsumOut", a.expertNum))
    if a.expertTokensBeforeCapacityFlag and a.dropPadMode == 1:
        outs.append(_counts(a.expertTokensBeforeCapacityOut, "expertTokensBeforeCapacityOut", a.expertNum))
    require_contiguous(*outs)


def _counts(out: DeviceTensor | None, name: str, experts: int) -> DeviceTensor:
    require(out is not None, f"{name}: a null pointer, although its flag is set")
    require_dtype(out, INT32)
    require_shape(out, (experts,))
    return out


@aclnn(
    "aclnnMoeTokenUnpermute(permutedTokens: tensor, sortedIndices: tensor, probsOptional: tensor?, paddedMode: bool, "
    "restoreShapeOptional: ints?, out: tensor)",
    doc="CANN 8.3.RC1, aclnnMoeTokenUnpermute",
)
def moe_token_unpermute(a):
    places = a.sortedIndices.array
    rows = a.permutedTokens.shape[0]
    require(
        places.size == 0 or (places.min() >= 0 and places.max() < rows),
        f"sortedIndices: values {_span(places)}, allowed: 0 to {rows - 1}",
    )
    require(np.unique(places).size == places.size, "sortedIndices: an index occurs twice")
    tokens = a.permutedTokens.wide()[places]
    if a.probsOptional is not None:
        tokens = tokens.reshape(*a.probsOptional.shape, -1) * a.probsOptional.wide()[..., None]
        tokens = tokens.sum(1)
    a.out.put(tokens)


@moe_token_unpermute.limits
def _(a):
    # The operator's definition registers every pair of dtypes of tokens and probabilities
    require_dtype(a.permutedTokens, *FLOATS)
    require_dtype(a.sortedIndices, INT32)
    require_same_dtype(a.permutedTokens, a.out)
    require_rank(a.permutedTokens, 2)
    require_rank(a.sortedIndices, 1)
    require(not a.paddedMode, "paddedMode: true, allowed: false")
    # restoreShapeOptional: the document wants a null pointer. MindSpore 2.7.1 gives a list where there is none, which
    # the operator's source reads nowhere, so it passes here.
    tokens, k = a.sortedIndices.shape[0], 1
    require(
        a.permutedTokens.shape[0] == tokens,
        f"permutedTokens: {a.permutedTokens.shape[0]} rows, expected one for each of {tokens} sortedIndices",
    )
    if a.probsOptional is not None:
        require_dtype(a.probsOptional, *FLOATS)
        require_rank(a.probsOptional, 2)
        k = a.probsOptional.shape[1]
        require(k <= 512, f"probsOptional: topK {k}, allowed: at most 512")
        require(
            a.probsOptional.size == tokens, f"probsOptional: shape {a.probsOptional.shape}, expected {tokens} values"
        )
    require_shape(a.out, (tokens // max(k, 1), a.permutedTokens.shape[1]))
    require_contiguous(a.out)


@aclnn(
    "aclnnMoeTokenPermute(tokens: tensor, indices: tensor, numOutTokens: int, paddedMode: bool, "
    "permuteTokensOut: tensor, sortedIndicesOut: tensor)",
    doc="CANN 8.3.RC1, aclnnMoeTokenPermute",
)
def moe_token_permute(a):
    experts = a.indices.array.reshape(-1)
    require(
        experts.size == 0 or (experts.min() >= 0 and experts.max() < 16777215),
        f"indices: values {_span(experts)}, allowed: 0 to 16777214",
    )
    order = np.argsort(experts, kind="stable")
    places = np.empty(order.size, np.int32)
    places[order] = np.arange(order.size)
    k = a.indices.shape[1] if a.indices.ndim == 2 else 1
    a.permuteTokensOut.put(a.tokens.array[order // k][: a.permuteTokensOut.shape[0]])
    a.sortedIndicesOut.put(places)


@moe_token_permute.limits
def _(a):
    require_dtype(a.tokens, *FLOATS)
    require_dtype(a.indices, INT32, INT64)
    require_same_dtype(a.tokens, a.permuteTokensOut)
    require_dtype(a.sortedIndicesOut, INT32)
    require_rank(a.tokens, 2, 8)
    require_rank(a.indices, 1, 2)
    require(not a.paddedMode, "paddedMode: true, allowed: false")
    k = a.indices.shape[1] if a.indices.ndim == 2 else 1
    require(k <= 512, f"indices: topK {k}, allowed: at most 512")
    require(a.indices.size < 16777215, f"indices: {a.indices.size} values, allowed: less than 16777215")
    rows = a.tokens.shape[0]
    require(a.indices.shape[0] == rows, f"indices: {a.indices.shape[0]} rows, expected those of tokens, {rows}")
    kept = len(range(rows * k)[: a.numOutTokens]) if a.numOutTokens else rows * k
    require_shape(a.permuteTokensOut, (kept, *a.tokens.shape[1:]))
    require_shape(a.sortedIndicesOut, (rows * k,))
    require_contiguous(a.permuteTokensOut, a.sortedIndicesOut)


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
