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
    check_layout,
    head_counts,
    query_sizes,
    refuse_given,
)
from ascend_emulator.attention_forms import check_decode, check_prefill, decode, prefill
from ascend_emulator.device_tensor import FLOAT32, require_dtype, require_shape
from ascend_emulator.refusal import INVALID_PARAMETER, require
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
        greatest, total = decode(
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
