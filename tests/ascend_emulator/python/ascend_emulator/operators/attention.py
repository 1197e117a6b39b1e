"""Attention of whole sequences in the training form: aclnnFlashAttentionScore."""

from __future__ import annotations

import numpy as np

from ascend_emulator.attention_math import (
    COMPRESSED,
    attend,
    from_heads_first,
    heads_first,
    hidden_by_mode,
    require_triangle,
)
from ascend_emulator.device_tensor import (
    BOOL,
    FLOAT32,
    FLOATS,
    UINT8,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.refusal import NOT_EMULATED, require
from ascend_emulator.table import aclnn

LAYOUTS = {"BSH": 3, "SBH": 3, "BSND": 4, "BNSD": 4}  # and their number of dimensions


# A3: the pages of 8.3.RC1.alpha003 (aclnnFlashAttentionScoreV2) and of the operator's repository in 2025 say no; CANN
# 8.5 says yes for A3 training cards. The definition of the operator registered ascend910_93 all the time.
@aclnn(
    "aclnnFlashAttentionScore(query: tensor, key: tensor, value: tensor, realShiftOptional: tensor?, "
    "dropMaskOptional: tensor?, paddingMaskOptional: tensor?, attenMaskOptional: tensor?, prefixOptional: ints?, "
    "scaleValue: double, keepProb: double, preTokens: int, nextTokens: int, headNum: int, inputLayout: string, "
    "innerPrecise: int, sparseMode: int, softmaxMaxOut: tensor, softmaxSumOut: tensor, softmaxOutOut: tensor?, "
    "attentionOutOut: tensor)",
    doc="CANN 8.3.RC1, aclnnFlashAttentionScore",
    socs=("A2",),
)
def flash_attention_score(a):
    if a.query.size == 0:
        return
    mask, mode = a.attenMaskOptional, a.sparseMode
    if mask is not None and mode in (2, 3, 4):
        require_triangle(mask)
    query = heads_first(a.query.wide(), a.inputLayout, a.headNum)
    kv_heads = _kv_heads(a)
    key = heads_first(a.key.wide(), a.inputLayout, kv_heads)
    value = heads_first(a.value.wide(), a.inputLayout, kv_heads)
    rows, keys = query.shape[2], key.shape[2]
    hidden = hidden_by_mode(mask, mode, rows, keys, a.preTokens, a.nextTokens)
    if mask is not None and mode in (0, 4):
        _require_mask_within_band(a, rows, keys)
    added = None if a.realShiftOptional is None else a.realShiftOptional.wide()
    # The document: rows without any key are corrected with innerPrecise 2, and by itself in mode 3 with Sq > Skv
    corrected = a.innerPrecise == 2 or (mode == 3 and rows > keys)
    out, greatest, total = attend(query, key, value, a.scaleValue, hidden, added, corrected, scale_after=True)
    a.attentionOutOut.put(from_heads_first(out, a.inputLayout))
    a.softmaxMaxOut.put(np.repeat(greatest[..., None], 8, -1))
    a.softmaxSumOut.put(np.repeat(total[..., None], 8, -1))


@flash_attention_score.limits
def _(a):
    layout = a.inputLayout
    require(layout in LAYOUTS, f"inputLayout: {layout}, allowed: {', '.join(LAYOUTS)}")
    require_dtype(a.query, *FLOATS)
    require_same_dtype(a.query, a.key, a.value, a.attentionOutOut)
    for tensor in (a.query, a.key, a.value, a.attentionOutOut):
        require_rank(tensor, LAYOUTS[layout])
    require(a.headNum > 0, f"headNum: {a.headNum}, allowed: more than 0")
    _check_sizes(a)
    _check_mask(a)
    require(0 < a.keepProb <= 1, f"keepProb: {a.keepProb}, allowed: 0 < keepProb <= 1")
    require(
        a.keepProb == 1 and a.dropMaskOptional is None, "dropout (keepProb, dropMask) is not emulated", NOT_EMULATED
    )
    require(a.paddingMaskOptional is None, "paddingMaskOptional: reserved, must be a null pointer")
    require(a.innerPrecise in (0, 1, 2), f"innerPrecise: {a.innerPrecise}, allowed: 0, 1, 2")
    if a.realShiftOptional is not None:
        require_same_dtype(a.query, a.realShiftOptional)
        require_rank(a.realShiftOptional, 4)


def _kv_heads(a):
    """N of key. In the layouts with H it follows from D = H / N of the query."""
    axis = {"BSND": 2, "BNSD": 1}.get(a.inputLayout)
    if axis is not None:
        return a.key.shape[axis]
    return a.key.shape[2] // max(a.query.shape[2] // a.headNum, 1)


def _check_sizes(a):
    layout, heads = a.inputLayout, a.headNum
    if a.query.size == 0:
        return
    batch_axis, row_axis = {"BSH": (0, 1), "SBH": (1, 0), "BSND": (0, 1), "BNSD": (0, 2)}[layout]
    batch, rows = a.query.shape[batch_axis], a.query.shape[row_axis]
    if len(layout) == 3:
        require(a.query.shape[2] % heads == 0, f"query: shape {a.query.shape}, H must be a multiple of headNum {heads}")
        dim = a.query.shape[2] // heads
        require(a.key.shape[2] % dim == 0, f"key: shape {a.key.shape}, H must be a multiple of the query's D {dim}")
    else:
        given = a.query.shape[{"BSND": 2, "BNSD": 1}[layout]]
        require(given == heads, f"query: shape {a.query.shape} has {given} heads, headNum is {heads}")
        dim = a.query.shape[3]
        require(a.key.shape[3] == dim, f"key: D {a.key.shape[3]}, expected the query's, {dim}")
        require(a.value.shape[3] <= dim, f"value: D {a.value.shape[3]}, allowed: at most the key's, {dim}")
    kv_heads = _kv_heads(a)
    require(a.key.shape[batch_axis] == batch, f"key: batch {a.key.shape[batch_axis]}, expected the query's, {batch}")
    require(
        a.key.shape[:-1] == a.value.shape[:-1], f"value: shape {a.value.shape}, expected the key's {a.key.shape}, but D"
    )
    require(kv_heads and heads % kv_heads == 0, f"headNum: {heads}, must be a multiple of the key's heads, {kv_heads}")
    keys = a.key.shape[row_axis]
    for name, value, most in (
        ("B", batch, 2 << 20),
        ("N", heads, 256),
        ("S of query", rows, 1 << 20),
        ("S of key", keys, 1 << 20),
        ("D", dim, 768),
    ):
        require(1 <= value <= most, f"{name}: {value}, allowed: 1 to {most}")
    expected = list(a.query.shape)
    if len(layout) == 4:
        expected[3] = a.value.shape[3]
    require_shape(a.attentionOutOut, tuple(expected))
    for out in (a.softmaxMaxOut, a.softmaxSumOut):
        require_dtype(out, FLOAT32)
        require_shape(out, (batch, heads, rows, 8))


def _check_mask(a):
    """Shapes: the document's list, and its page on sparse modes for the compressed ones."""
    mask, mode = a.attenMaskOptional, a.sparseMode
    require(0 <= mode <= 6, f"sparseMode: {mode}, allowed: 0 to 6")
    require(mode < 5, f"sparseMode: {mode} (prefix) is not emulated", NOT_EMULATED)
    if mask is None or a.query.size == 0:
        return
    require_dtype(mask, BOOL, UINT8)
    if mode in (2, 3, 4):
        require_shape(mask, (COMPRESSED, COMPRESSED))
        if mode == 4:
            _check_band(a)
        return
    row_axis = {"BSH": 1, "SBH": 0, "BSND": 1, "BNSD": 2}[a.inputLayout]
    rows, keys = a.query.shape[row_axis], a.key.shape[row_axis]
    batch = a.query.shape[1 if a.inputLayout == "SBH" else 0]
    allowed = [(batch, a.headNum, rows, keys), (batch, 1, rows, keys), (1, 1, rows, keys), (rows, keys)]
    require(mask.shape in allowed, f"attenMaskOptional: shape {mask.shape}, allowed: {', '.join(map(str, allowed))}")


def _check_band(a):
    require(
        a.preTokens + a.nextTokens >= 0, f"preTokens {a.preTokens} and nextTokens {a.nextTokens} have nothing in common"
    )


def _require_mask_within_band(a, rows, keys):
    """Mode 0: what preTokens and nextTokens leave out must be hidden by the mask too. Reads device memory."""
    if a.sparseMode == 4 or (a.preTokens >= rows and a.nextTokens >= keys):
        return
    by_mask = hidden_by_mode(a.attenMaskOptional, 1, rows, keys, 0, 0)
    by_both = hidden_by_mode(a.attenMaskOptional, 0, rows, keys, a.preTokens, a.nextTokens)
    require(
        np.array_equal(np.broadcast_to(by_mask, by_both.shape), by_both),
        f"preTokens {a.preTokens} and nextTokens {a.nextTokens} hide more than attenMaskOptional; they must agree",
    )
