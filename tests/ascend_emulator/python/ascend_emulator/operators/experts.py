"""Mixture of experts: gating, routing, and summing up."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import (
    BOOL,
    FLOATS,
    INT32,
    INT64,
    DeviceTensor,
    require_contiguous,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.refusal import TILING_ERROR, require
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
    experts = chosen_experts(a)
    order = np.argsort(experts, kind="stable")
    if a.dropPadMode == 1:
        counts, source = np.bincount(experts, minlength=a.expertNum), order // a.expertIdx.shape[1]
        a.expandedRowIdxOut.put(_dropped(a, experts, order, counts, source))
    else:
        a.expandedXOut.put(a.x.array[put_places(a, experts, order, a.expertTokensCountOrCumsumOut)])


def chosen_experts(a) -> np.ndarray:
    """All of them, token by token. They are device memory, so their limits are asked here."""
    experts = a.expertIdx.array.reshape(-1)
    is_counted = a.dropPadMode == 1 or a.expertTokensCountOrCumsumFlag > 0
    require(
        experts.size == 0 or (experts.min() >= 0 and (not is_counted or experts.max() < a.expertNum)),
        f"expertIdx: values {_span(experts)}, allowed: 0 to {a.expertNum - 1}",
    )
    return experts


def put_places(a, experts: np.ndarray, order: np.ndarray, counts_out: DeviceTensor | None) -> np.ndarray:
    """Mode 0: writes each choice's place and how many each expert has. The tokens in the experts' order."""
    places = np.empty(experts.size, np.int32)
    places[order] = np.arange(experts.size)
    a.expandedRowIdxOut.put(places)
    if a.expertTokensCountOrCumsumFlag:
        counts = np.bincount(experts, minlength=a.expertNum)
        counts_out.put(np.cumsum(counts) if a.expertTokensCountOrCumsumFlag == 1 else counts)
    kept = order.size if a.activeNum == 0 else min(a.activeNum, order.size)
    return order[:kept] // a.expertIdx.shape[1]


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
    require_same_dtype(a.x, a.expandedXOut)
    check_routing(a, a.expertTokensCountOrCumsumOut, a.expertTokensBeforeCapacityOut)


def check_routing(a, counts_out: DeviceTensor | None, before_out: DeviceTensor | None) -> None:
    """What the operators of routing have in common."""
    require_dtype(a.x, *FLOATS)
    require_dtype(a.expertIdx, INT32)
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
        outs.append(_counts(counts_out, "expertTokensCountOrCumsumOut", a.expertNum))
    if a.expertTokensBeforeCapacityFlag and a.dropPadMode == 1:
        outs.append(_counts(before_out, "expertTokensBeforeCapacityOut", a.expertNum))
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
