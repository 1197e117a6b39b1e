"""Attention of inference: aclnnIncreFlashAttentionV4, aclnnPromptFlashAttentionV3, aclnnFusedInferAttentionScoreV2/V3.

Not emulated, and refused by name: int8 caches, int8 output, shared prefixes, left padding, layouts TND and NTD, rope
given apart (MLA).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ascend_emulator.attention_checks import (
    RANKS,
    Sizes,
    check_blocks,
    check_decode_mask,
    check_dtypes,
    check_keys,
    check_layout,
    check_lengths,
    check_lists,
    check_out,
    check_pages,
    check_position_term,
    check_prefill_mask,
    head_counts,
    lengths_of,
    query_sizes,
    refuse_given,
)
from ascend_emulator.attention_math import (
    attend,
    from_heads_first,
    heads_first,
    hidden_by_mode,
    require_triangle,
    require_zero_or_one,
)
from ascend_emulator.device_tensor import FLOAT32, DeviceTensor, require_dtype, require_shape
from ascend_emulator.refusal import INVALID_PARAMETER, NOT_EMULATED, require
from ascend_emulator.table import aclnn


# --- one new token: the query's S is 1 ------------------------------------------------------------------------------
# A3: hiascend's page of 8.3.RC1 says no, although the operator's definition registered ascend910_93.
@aclnn(
    "aclnnIncreFlashAttentionV4(query: tensor, key: tensors, value: tensors, pseShift: tensor?, attenMask: tensor?, "
    "actualSeqLengths: ints?, dequantScale1: tensor?, quantScale1: tensor?, dequantScale2: tensor?, "
    "quantScale2: tensor?, quantOffset2: tensor?, antiquantScale: tensor?, antiquantOffset: tensor?, "
    "blocktable: tensor?, kvPaddingSize: tensor?, numHeads: int, scaleValue: double, inputLayout: string, "
    "numKeyValueHeads: int, blockSize: int, innerPrecise: int, attentionOut: tensor)",
    doc="CANN 8.3.RC1, aclnnIncreFlashAttentionV4",
    socs=("A2",),
)
def incre_flash_attention(a):
    decode(a, a.blocktable, a.blockSize, a.actualSeqLengths, a.attenMask, a.pseShift)


@incre_flash_attention.limits
def _(a):
    refuse_given(a, ("dequantScale1", "quantScale1", "dequantScale2"), "allowed only for int8", INVALID_PARAMETER)
    refuse_given(a, ("quantScale2", "quantOffset2", "antiquantScale", "antiquantOffset"), "which is not emulated")
    refuse_given(a, ("kvPaddingSize",), "which is not emulated")
    require(a.innerPrecise in (0, 1), f"innerPrecise: {a.innerPrecise}, allowed: 0, 1")
    check_layout(a.inputLayout, ("BSH", "BNSD", "BSND"), a.query, a.attentionOut)
    check_decode(a, a.blocktable, a.blockSize, a.actualSeqLengths, a.attenMask, a.pseShift)


# --- many queries ---------------------------------------------------------------------------------------------------
@aclnn(
    "aclnnPromptFlashAttentionV3(query: tensor, key: tensor, value: tensor, pseShift: tensor?, attenMask: tensor?, "
    "actualSeqLengths: ints?, actualSeqLengthsKv: ints?, deqScale1: tensor?, quantScale1: tensor?, deqScale2: tensor?, "
    "quantScale2: tensor?, quantOffset2: tensor?, numHeads: int, scaleValue: double, preTokens: int, nextTokens: int, "
    "inputLayout: string, numKeyValueHeads: int, sparseMode: int, innerPrecise: int, attentionOut: tensor)",
    doc="CANN 8.3.RC1, aclnnPromptFlashAttentionV3",
)
def prompt_flash_attention(a):
    prefill(a, [a.key], [a.value], a.attenMask, a.pseShift)


@prompt_flash_attention.limits
def _(a):
    _refuse_scales(a, ("deqScale1", "quantScale1", "deqScale2"), ("quantScale2", "quantOffset2"))
    check_layout(a.inputLayout, tuple(RANKS), a.query, a.attentionOut)
    check_prefill(a, [a.key], [a.value], a.attenMask, a.pseShift)
    if a.inputLayout in ("BSH", "BSND"):
        width = a.query.size // max(a.query.shape[0] * a.query.shape[1], 1)
        require(width < 65535, f"query: N * D = {width}, allowed in layout {a.inputLayout}: less than 65535")


# --- both ------------------------------------------------------------------------------------------------------------
_FUSED = (
    "(query: tensor, key: tensors, value: tensors, pseShiftOptional: tensor?, attenMaskOptional: tensor?, "
    "actualSeqLengthsOptional: ints?, actualSeqLengthsKvOptional: ints?, deqScale1Optional: tensor?, "
    "quantScale1Optional: tensor?, deqScale2Optional: tensor?, quantScale2Optional: tensor?, "
    "quantOffset2Optional: tensor?, antiquantScaleOptional: tensor?, antiquantOffsetOptional: tensor?, "
    "blockTableOptional: tensor?, queryPaddingSizeOptional: tensor?, kvPaddingSizeOptional: tensor?, "
    "keyAntiquantScaleOptional: tensor?, keyAntiquantOffsetOptional: tensor?, valueAntiquantScaleOptional: tensor?, "
    "valueAntiquantOffsetOptional: tensor?, keySharedPrefixOptional: tensor?, valueSharedPrefixOptional: tensor?, "
    "actualSharedPrefixLenOptional: ints?, {rope}numHeads: int, scaleValue: double, preTokens: int, nextTokens: int, "
    "inputLayout: string, numKeyValueHeads: int, sparseMode: int, innerPrecise: int, blockSize: int, "
    "antiquantMode: int, softmaxLseFlag: bool, keyAntiquantMode: int, valueAntiquantMode: int, attentionOut: tensor, "
    "softmaxLse: tensor?)"
)
_NOT_EMULATED = re.compile("ntiquant.*Optional|Prefix|Padding|Rope")
_ROPE = "queryRopeOptional: tensor?, keyRopeOptional: tensor?, keyRopeAntiquantScaleOptional: tensor?, "


def fused_infer_attention(a):
    if query_sizes(a.query, a.inputLayout, a.numHeads)[1] == 1:
        lengths, greatest, total = decode(
            a, a.blockTableOptional, a.blockSize, a.actualSeqLengthsKvOptional, a.attenMaskOptional, a.pseShiftOptional
        )
    else:
        greatest, total = prefill(a, a.key, a.value, a.attenMaskOptional, a.pseShiftOptional)
    if a.softmaxLse is not None and a.softmaxLseFlag:
        a.softmaxLse.put((np.log(total) + greatest)[..., None])


def _fused_limits(a):
    _refuse_scales(
        a,
        ("deqScale1Optional", "quantScale1Optional", "deqScale2Optional"),
        ("quantScale2Optional", "quantOffset2Optional", *(name for name in vars(a) if _NOT_EMULATED.search(name))),
    )
    check_layout(a.inputLayout, tuple(RANKS), a.query, a.attentionOut)
    heads, _ = head_counts(a.numHeads, a.numKeyValueHeads)
    batch, rows, _ = query_sizes(a.query, a.inputLayout, heads)
    if rows == 1:
        check_decode(
            a, a.blockTableOptional, a.blockSize, a.actualSeqLengthsKvOptional, a.attenMaskOptional, a.pseShiftOptional
        )
    else:
        require(a.innerPrecise in range(4), f"innerPrecise: {a.innerPrecise}, allowed: 0 to 3")
        dim = query_sizes(a.query, a.inputLayout, heads)[2]
        require(dim % 16 == 0, f"query: D {dim}, must be a multiple of 16 where S is more than 1")
        check_prefill(a, a.key, a.value, a.attenMaskOptional, a.pseShiftOptional)
    if a.softmaxLseFlag:
        require(a.softmaxLse is not None, "softmaxLse: a null pointer, although softmaxLseFlag is true")
        require_dtype(a.softmaxLse, FLOAT32)
        require_shape(a.softmaxLse, (batch, heads, rows, 1))


for _version, _more in (("V2", ""), ("V3", _ROPE)):
    aclnn(
        f"aclnnFusedInferAttentionScore{_version}" + _FUSED.format(rope=_more),
        doc=f"CANN 8.3.RC1, aclnnFusedInferAttentionScore{_version}",
    )(fused_infer_attention).limits(_fused_limits)


def _refuse_scales(a: Any, of_int8: tuple[str, ...], others: tuple[str, ...]) -> None:
    refuse_given(a, of_int8, "allowed only for int8", INVALID_PARAMETER)
    refuse_given(a, others, "which is not emulated")


# --- the two forms ---------------------------------------------------------------------------------------------------
def decode(
    a: Any,
    table: DeviceTensor | None,
    block: int,
    lengths: list[int] | None,
    mask: DeviceTensor | None,
    term: DeviceTensor | None,
) -> tuple[list[int], np.ndarray, np.ndarray]:
    heads, kv_heads = head_counts(a.numHeads, a.numKeyValueHeads)
    query = heads_first(a.query.wide(), a.inputLayout, heads)
    batch = query.shape[0]
    if mask is not None:
        require_zero_or_one(mask)
    outs, greatest, total = [], [], []
    for row in range(batch):
        if table is not None:
            key, value = (_pages(cache[0], table, row, lengths, batch, block, kv_heads) for cache in (a.key, a.value))
        else:
            key, value = (_row_of(given, row, batch, a.inputLayout, kv_heads) for given in (a.key, a.value))
        length = lengths_of(lengths, batch, key.shape[2])[row]
        key, value = key[:, :, :length], value[:, :, :length]
        hidden = None
        if mask is not None:
            hidden = mask.array.reshape(batch, 1, 1, -1)[row : row + 1, ..., :length] != 0
        added = None if term is None else term.wide()[row % term.shape[0]][None, ..., :length]
        out, top, sums = attend(query[row : row + 1], key, value, a.scaleValue, hidden, added)
        outs.append(out)
        greatest.append(top)
        total.append(sums)
    if outs:
        a.attentionOut.put(from_heads_first(np.concatenate(outs), a.inputLayout))
        return lengths or [], np.concatenate(greatest), np.concatenate(total)
    return [], np.zeros((0, heads, 1)), np.zeros((0, heads, 1))


def check_decode(
    a: Any,
    table: DeviceTensor | None,
    block: int,
    lengths: list[int] | None,
    mask: DeviceTensor | None,
    term: DeviceTensor | None,
) -> None:
    heads, kv_heads = head_counts(a.numHeads, a.numKeyValueHeads)
    check_dtypes(a.query, a.key, a.value, a.attentionOut)
    check_out(a.attentionOut, a.query, a.inputLayout)
    batch, rows, dim = query_sizes(a.query, a.inputLayout, heads)
    require(rows == 1, f"query: S {rows}, allowed: 1")
    require(1 <= batch <= 65536, f"query: B {batch}, allowed: 1 to 65536")
    require(1 <= dim <= 512, f"query: D {dim}, allowed: 1 to 512")
    if table is not None:
        check_blocks(table, block, 16, 16, lengths)
        sizes = Sizes(batch, heads, kv_heads, rows, table.shape[1] * block, dim)
        check_lengths("actualSeqLengths", lengths, batch, sizes.keys)
        for cache in (*a.key, *a.value):
            check_pages(cache, table, sizes, block, a.inputLayout, lengths_of(lengths, batch, 0))
    else:
        check_lists(a.key, a.value, batch)
        keys = max(
            check_keys(key, value, a.inputLayout, kv_heads, dim) for key, value in zip(a.key, a.value, strict=True)
        )
        sizes = Sizes(batch, heads, kv_heads, rows, keys, dim)
        check_lengths("actualSeqLengths", lengths, batch, keys)
    check_decode_mask(mask, sizes)
    check_position_term(term, a.query, sizes)


def prefill(
    a: Any,
    keys: list[DeviceTensor],
    values: list[DeviceTensor],
    mask: DeviceTensor | None,
    term: DeviceTensor | None,
) -> tuple[np.ndarray, np.ndarray]:
    heads, kv_heads = head_counts(a.numHeads, a.numKeyValueHeads)
    query = heads_first(a.query.wide(), a.inputLayout, heads)
    batch, _, rows, _ = query.shape
    if mask is not None:
        require_zero_or_one(mask)
        if a.sparseMode in (2, 3, 4):
            require_triangle(mask)
    by_query = getattr(a, "actualSeqLengths", None) or getattr(a, "actualSeqLengthsOptional", None)
    by_key = getattr(a, "actualSeqLengthsKv", None) or getattr(a, "actualSeqLengthsKvOptional", None)
    outs = np.zeros((*query.shape[:3], heads_first(values[0].array, a.inputLayout, kv_heads).shape[-1]), np.float32)
    greatest, total = (np.zeros(query.shape[:3], np.float32) for _ in range(2))
    for row in range(batch):
        key, value = (_row_of(given, row, batch, a.inputLayout, kv_heads) for given in (keys, values))
        used, seen = lengths_of(by_query, batch, rows)[row], lengths_of(by_key, batch, key.shape[2])[row]
        hidden = hidden_by_mode(mask, a.sparseMode, used, seen, a.preTokens, a.nextTokens)
        if hidden is not None and hidden.ndim == 4:
            hidden = hidden[row % hidden.shape[0]][None]
        added = None if term is None else term.wide()[row % term.shape[0]][None, :, :used, :seen]
        corrected = a.innerPrecise in (2, 3) or (a.sparseMode == 3 and used > seen)
        outs[row, :, :used], greatest[row, :, :used], total[row, :, :used] = (
            made[0]
            for made in attend(
                query[row : row + 1, :, :used],
                key[:, :, :seen],
                value[:, :, :seen],
                a.scaleValue,
                hidden,
                added,
                corrected,
            )
        )
    a.attentionOut.put(from_heads_first(outs, a.inputLayout))
    return greatest, total


def check_prefill(
    a: Any,
    keys: list[DeviceTensor],
    values: list[DeviceTensor],
    mask: DeviceTensor | None,
    term: DeviceTensor | None,
) -> None:
    heads, kv_heads = head_counts(a.numHeads, a.numKeyValueHeads)
    check_dtypes(a.query, keys, values, a.attentionOut)
    check_out(a.attentionOut, a.query, a.inputLayout)
    batch, rows, dim = query_sizes(a.query, a.inputLayout, heads)
    require(
        getattr(a, "blockTableOptional", None) is None,
        "blockTableOptional: paged prefill is not emulated",
        NOT_EMULATED,
    )
    check_lists(keys, values, batch)
    longest = max(check_keys(key, value, a.inputLayout, kv_heads, dim) for key, value in zip(keys, values, strict=True))
    require(dim <= 512, f"query: D {dim}, allowed: at most 512")
    most = 65536 if dim % 16 == 0 else 128
    require(batch <= most, f"query: B {batch}, allowed with D {dim}: at most {most}")
    for name, length in (("query", rows), ("key", longest)):
        require(length <= 20 << 20, f"{name}: S {length}, allowed: at most {20 << 20}")
    require(a.innerPrecise in range(4), f"innerPrecise: {a.innerPrecise}, allowed: 0 to 3")
    sizes = Sizes(batch, heads, kv_heads, rows, longest, dim)
    by_query = getattr(a, "actualSeqLengths", None) or getattr(a, "actualSeqLengthsOptional", None)
    by_key = getattr(a, "actualSeqLengthsKv", None) or getattr(a, "actualSeqLengthsKvOptional", None)
    check_lengths("actualSeqLengths", by_query, batch, rows)
    check_lengths("actualSeqLengthsKv", by_key, batch, longest)
    check_prefill_mask(mask, a.sparseMode, sizes)
    check_position_term(term, a.query, sizes)


def _row_of(given: list[DeviceTensor], row: int, batch: int, layout: str, kv_heads: int) -> np.ndarray:
    """Keys or values of one row of the batch, (1, kv heads, S, D)."""
    if len(given) == 1 and given[0].shape[0] == batch:
        array = given[0].array[row : row + 1]
    else:
        array = given[row].array
    return heads_first(array, layout, kv_heads).astype(np.float32)


def _pages(
    cache: DeviceTensor,
    table: DeviceTensor,
    row: int,
    lengths: list[int] | None,
    batch: int,
    block: int,
    kv_heads: int,
) -> np.ndarray:
    """Keys or values of one row of the batch, gathered from the blocks of a paged cache."""
    used = -(-lengths_of(lengths, batch, 0)[row] // block)
    ids = table.array[row, :used]
    require(
        np.all((ids >= 0) & (ids < cache.shape[0])), f"{table.name}: block {ids}, {cache.name} has {cache.shape[0]}"
    )
    pages = cache.array[ids]
    if pages.ndim == 3:
        pages = pages.reshape(used, block, kv_heads, -1).swapaxes(1, 2)
    gathered = pages.swapaxes(0, 1).reshape(1, kv_heads, used * block, -1)
    return gathered.astype(np.float32)
