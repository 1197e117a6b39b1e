"""One function for each fused Ascend operator that decoders use, with the arguments that they need.

Never run on a card. What is known: type and shape inference of MindSpore 2.7.1 accepts the calls (tests). Where that
checks nothing, the calls follow CANN's documents of the aclnn operator named at the function.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.ops import constexpr
from mindspore.ops.auto_generate import (
    DynamicQuantExt,
    GroupedMatmulV4,
    MoeGatingTopKSoftmax,
    MoeInitRoutingV2,
    MoeTokenUnpermute,
    PagedAttention,
    QuantBatchMatmul,
    ReshapeAndCache,
    RotaryPositionEmbedding,
    SplitWithSize,
    WeightQuantBatchMatmul,
)
from mindspore.ops.auto_generate import add_rms_norm as _add_rms_norm

CAUSAL_MASK_SIZE = 2048  # the compressed mask of flash attention has this size for a prompt of any length
NO_BAND = 2**31 - 1  # a query sees any number of keys before and after its own place

_matmul_t = ops.MatMul(transpose_b=True)
_split = SplitWithSize()
_rotary = RotaryPositionEmbedding()
_gating = MoeGatingTopKSoftmax()
_init_routing = MoeInitRoutingV2()
_grouped_matmul = GroupedMatmulV4()
_unpermute = MoeTokenUnpermute()
_reshape_and_cache = ReshapeAndCache()
_dynamic_quant = DynamicQuantExt()
_weight_quant_matmul_t = WeightQuantBatchMatmul(transpose_weight=True)
_quant_matmul_t = QuantBatchMatmul(transpose_x2=True, dtype=ms.bfloat16)
_quant_matmul_t_float16 = QuantBatchMatmul(transpose_x2=True, dtype=ms.float16)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x: (..., H), weight: (H,) of x's dtype. The operator takes the variance in float32."""
    return ops.rms_norm(x, weight, eps)[0]


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x, residual: (..., H), weight: (H,). (normed sum, sum)."""
    normed, _, total = _add_rms_norm(x, residual, weight, eps)
    return normed, total


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x: (tokens, in), weight: (out, in). (tokens, out)."""
    return _matmul_t(x, weight)


def split(x: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """x: (..., sum of sizes). (..., size) each, by one operator: slices are legacy operators."""
    return _split(x, sizes, -1)


def cast(x: Tensor, dtype: Any) -> Tensor:
    """x itself where it has that dtype."""
    return x if x.dtype == dtype else ops.cast(x, dtype)


def rotary_position_embedding(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x: (1, tokens, heads, dim), cos, sin: (1, tokens, 1, dim) of its dtype. Mode 0: the halves change places."""
    return _rotary(x, cos, sin, 0)


def swiglu(gate_up: Tensor) -> Tensor:
    """gate_up: (..., 2I). silu(first half) * second half, (..., I)."""
    return ops.swiglu(gate_up, -1)


def reshape_and_cache(k: Tensor, v: Tensor, key_cache: Tensor, value_cache: Tensor, slots: Tensor) -> Tensor:
    """k, v: (tokens, kv_heads * dim), caches: Parameters (blocks, size, kv_heads, dim), written in place, slots: int32
    (tokens,). In graphs with infer_boost, MindSpore's internal kernel."""
    return _reshape_and_cache(k, v, key_cache, value_cache, slots)


def paged_attention(
    q: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_tables: Tensor,
    context_lens: Tensor,
    heads: int,
    kv_heads: int,
    scale: float,
) -> Tensor:
    """q: (rows, heads * dim), caches: (blocks, size, kv_heads, dim), block_tables: int32 (rows, n), context_lens: int32
    (rows,). In graphs with infer_boost, MindSpore's internal kernel."""
    return PagedAttention(heads, scale, kv_heads)(q, key_cache, value_cache, block_tables, context_lens)


def attention(
    q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None, heads: int, kv_heads: int, scale: float
) -> Tensor:
    """q: (batch, heads, n, dim), k and v: (batch, kv_heads, N, dim), hidden: bool (batch, 1, n, N), True where not to
    attend. Mode 0 also hides keys outside a band around a query's own place, so the band is NO_BAND."""
    return _attention(q, k, v, hidden, heads, kv_heads, scale, "BNSD", 0)


def causal_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, kv_heads: int, scale: float) -> Tensor:
    """q: (batch, S, heads * dim), k and v: (batch, N, kv_heads * dim). Mode 3 takes a fixed mask and lets the last
    query see the last key (mode 2 lets the first query see the first key alone)."""
    return _attention(q, k, v, _causal_mask(), heads, kv_heads, scale, "BSH", 3)


def moe_gating_top_k_softmax(logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """logits: (tokens, experts). The largest softmax values and their experts, int32: (tokens, top_k) each."""
    weights, experts, _ = _gating(logits, None, top_k)
    return weights, experts


def moe_init_routing(x: Tensor, experts: Tensor, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """x: (tokens, H), experts: int32 (tokens, top_k). Nothing is dropped. Returns the tokens sorted by expert, (tokens
    * top_k, H), the place there of each (token, choice), int32 (tokens * top_k,), and the tokens of each expert, int32
    (num_experts,)."""
    no_limit, keep_all, count = 0, 0, 2
    tokens, places, counts, _ = _init_routing(x, experts, no_limit, no_limit, num_experts, keep_all, count, True)
    return tokens, places, counts


def grouped_matmul(x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """x: (rows, K), weight: (E, K, N), counts: int64 (E,), rows of each expert in turn. (rows, N)."""
    return _grouped(x, weight, counts)


def moe_token_unpermute(rows: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """rows: (tokens * top_k, H), places as of moe_init_routing, weights: (tokens, top_k). (tokens, H).

    float32 weights with rows of half precision pass inference; the operator's documentation lists the dtypes of both
    without tying them together.
    """
    return _unpermute(rows, places, weights, False, None)


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
    offset = _zeros(tuple(scale.shape), scale.dtype)
    return _grouped(x, weight, counts, antiquant_scale=[scale], antiquant_offset=[offset])


def grouped_quant_matmul(
    x: Tensor, token_scale: Tensor, weight: Tensor, scale: Tensor, counts: Tensor, dtype: Any
) -> Tensor:
    """x: int8 (rows, K), token_scale: float32 (rows,), weight: int8 (E, K, N), scale: (E, N), counts: int64 (E,).
    (rows, N) of `dtype`; scale's dtype as of quant_matmul. aclnnGroupedMatmulV4."""
    return _grouped(x, weight, counts, scale=[scale], pre_token_scale=[token_scale], output_dtype=dtype)


def _grouped(x: Tensor, weight: Tensor, counts: Tensor, **quantized: Any) -> Tensor:
    return _grouped_matmul(
        [x], [weight], group_list=counts, split_item=3, group_type=0, group_list_type=1, **quantized
    )[0]


def _attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Any, heads: int, kv_heads: int, scale: float, layout: str, mode: int
) -> Tensor:
    """inner_precise 0: in float16 too, scores and sums are float32's."""
    return ops.prompt_flash_attention(
        q,
        k,
        v,
        mask,
        num_heads=heads,
        scale_value=scale,
        pre_tokens=NO_BAND,
        next_tokens=NO_BAND,
        input_layout=layout,
        num_key_value_heads=kv_heads,
        sparse_mode=mode,
        inner_precise=0,
    )


@constexpr
def _causal_mask() -> Tensor:
    return _make_causal_mask()


@cache
def _make_causal_mask() -> Tensor:
    return Tensor(np.triu(np.ones((CAUSAL_MASK_SIZE, CAUSAL_MASK_SIZE), np.bool_), 1))


@constexpr
def _zeros(shape: tuple[int, ...], dtype: Any) -> Tensor:
    return _make_zeros(shape, dtype)


@cache
def _make_zeros(shape: tuple[int, ...], dtype: Any) -> Tensor:
    return Tensor(np.zeros(shape, np.float32), dtype)
