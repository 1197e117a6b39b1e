"""Mixture of experts with hidden states rounded to int8: routing, and SwiGLU between two products."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import FLOAT32, INT8, require_contiguous, require_dtype, require_shape
from ascend_emulator.operators.experts import check_routing, chosen_experts, put_places
from ascend_emulator.operators.quantized import put_rounded
from ascend_emulator.refusal import NOT_EMULATED, TILING_ERROR, require
from ascend_emulator.table import aclnn


@aclnn(
    "aclnnMoeInitRoutingQuantV2(x: tensor, expertIdx: tensor, scaleOptional: tensor?, offsetOptional: tensor?, "
    "activeNum: int, expertCapacity: int, expertNum: int, dropPadMode: int, expertTokensCountOrCumsumFlag: int, "
    "expertTokensBeforeCapacityFlag: bool, quantMode: int, expandedXOut: tensor, expandedRowIdxOut: tensor, "
    "expertTokensCountOrCumsumOutOptional: tensor?, expertTokensBeforeCapacityOutOptional: tensor?, "
    "dynamicQuantScaleOutOptional: tensor?)",
    doc="CANN, open repository ops-transformer, aclnnMoeInitRoutingQuantV2",
)
def moe_init_routing_quant(a):
    experts = chosen_experts(a)
    order = np.argsort(experts, kind="stable")
    tokens = put_places(a, experts, order, a.expertTokensCountOrCumsumOutOptional)
    put_rounded(np.asarray(a.x.wide(), np.float32)[tokens], a.expandedXOut, a.dynamicQuantScaleOutOptional)


@moe_init_routing_quant.limits
def _(a):
    require(a.quantMode in (0, 1), f"quantMode: {a.quantMode}, allowed: 0, 1", TILING_ERROR)
    check_routing(a, a.expertTokensCountOrCumsumOutOptional, a.expertTokensBeforeCapacityOutOptional)
    require_dtype(a.expandedXOut, INT8)
    require(
        a.quantMode == 1 and a.dropPadMode == 0 and a.scaleOptional is None and a.offsetOptional is None,
        f"quantMode {a.quantMode}, dropPadMode {a.dropPadMode}: only scales by token, without dropping and without "
        "scaleOptional and offsetOptional, are emulated",
        NOT_EMULATED,
    )
    scale = a.dynamicQuantScaleOutOptional
    require(scale is not None, "dynamicQuantScaleOutOptional: a null pointer, although quantMode is 1")
    require_dtype(scale, FLOAT32)
    require_shape(scale, a.expandedXOut.shape[:-1])
    require_contiguous(scale)
