"""One function for each Ascend operator of 8-bit weights: the call with the arguments that it is used with.

Beside `decoder_ops_ascend_primitives`, and like them: never run on a card, accepted by MindSpore 2.7.1's inference, and
written from CANN's documents of the aclnn operators that MindSpore calls, which are named at each.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor
from mindspore.ops import constexpr
from mindspore.ops.auto_generate import DynamicQuantExt, GroupedMatmulV4, QuantBatchMatmul, WeightQuantBatchMatmul

_dynamic_quant = DynamicQuantExt()
_weight_quant_matmul_t = WeightQuantBatchMatmul(transpose_weight=True)
_quant_matmul_t = QuantBatchMatmul(transpose_x2=True, dtype=ms.bfloat16)
_quant_matmul_t_float16 = QuantBatchMatmul(transpose_x2=True, dtype=ms.float16)
_grouped_matmul = GroupedMatmulV4()


def dynamic_quant(x: Tensor) -> tuple[Tensor, Tensor]:
    """x: (rows, K). int8 (rows, K) and float32 (rows,), the largest value of each row over 127. aclnnDynamicQuant."""
    return _dynamic_quant(x, None)


def weight_quant_matmul(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """x: (rows, K), weight: int8 (N, K), taken transposed as it lies, scale: (N,) of x's dtype. (rows, N).
    aclnnWeightQuantBatchMatmulV2."""
    return _weight_quant_matmul_t(x, weight, scale)


def quant_matmul(x: Tensor, token_scale: Tensor, weight: Tensor, scale: Tensor, dtype: Any) -> Tensor:
    """x: int8 (rows, K), token_scale: float32 (rows,), weight: int8 (N, K), taken transposed as it lies, scale: (N,).
    (rows, N) of `dtype`: bfloat16, for which scale is that too, or float16, for which it is float32.
    aclnnQuantMatmulV4."""
    if dtype == ms.float16:
        return _quant_matmul_t_float16(x, weight, scale, None, None, token_scale)
    return _quant_matmul_t(x, weight, scale, None, None, token_scale)


def grouped_weight_quant_matmul(x: Tensor, weight: Tensor, scale: Tensor, counts: Tensor) -> Tensor:
    """x: (rows, K), weight: int8 (E, K, N), scale: (E, N) of x's dtype, counts: int64 (E,). (rows, N).
    aclnnGroupedMatmulV4, which wants offsets: here they are zeros, the same ones in every layer."""
    return _grouped(
        [x], [weight], counts, antiquant_scale=[scale], antiquant_offset=[_zeros(tuple(scale.shape), scale.dtype)]
    )


def grouped_quant_matmul(
    x: Tensor, token_scale: Tensor, weight: Tensor, scale: Tensor, counts: Tensor, dtype: Any
) -> Tensor:
    """x: int8 (rows, K), token_scale: float32 (rows,), weight: int8 (E, K, N), scale: (E, N), counts: int64 (E,).
    (rows, N) of `dtype`; scale's dtype as of quant_matmul. aclnnGroupedMatmulV4."""
    return _grouped([x], [weight], counts, scale=[scale], pre_token_scale=[token_scale], output_dtype=dtype)


def _grouped(x: list[Tensor], weight: list[Tensor], counts: Tensor, **quantised: Any) -> Tensor:
    return _grouped_matmul(x, weight, group_list=counts, split_item=3, group_type=0, group_list_type=1, **quantised)[0]


@constexpr
def _zeros(shape: tuple[int, ...], dtype: Any) -> Tensor:
    return _make_zeros(shape, dtype)


@cache
def _make_zeros(shape: tuple[int, ...], dtype: Any) -> Tensor:
    return Tensor(np.zeros(shape, np.float32), dtype)
