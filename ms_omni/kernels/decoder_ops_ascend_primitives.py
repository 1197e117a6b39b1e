"""One function for each fused Ascend operator that the decoder uses: the call with the arguments that it is used with.

Never run on a card. What is known: type and shape inference of MindSpore 2.7.1 accepts the calls (tests), and where
that checks nothing, the documentation or the library named at the function.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.ops import constexpr
from mindspore.ops.auto_generate import (
    GroupedMatmulV4,
    MoeGatingTopKSoftmax,
    MoeInitRoutingV2,
    MoeTokenUnpermute,
    SplitWithSize,
)
from mindspore.ops.auto_generate import add_rms_norm as _add_rms_norm

CAUSAL_MASK_SIZE = 2048  # the compressed mask of flash attention has this size for a prompt of any length

_matmul_t = ops.MatMul(transpose_b=True)
_sum = ops.ReduceSum(keep_dims=True)
_split = SplitWithSize()
# cos and sin are (tokens, dim), not interleaved: format 2 of ApplyRotaryPosEmbParam in the internal kernels' op_param.h
_rotary = ops.ApplyRotaryPosEmb(2)
_gating = MoeGatingTopKSoftmax()
_init_routing = MoeInitRoutingV2()
_grouped_matmul = GroupedMatmulV4()
_unpermute = MoeTokenUnpermute()


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return ops.rms_norm(x, weight, eps)[0]


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    normed, _, total = _add_rms_norm(x, residual, weight, eps)
    return normed, total


def matmul(x: Tensor, weight: Tensor) -> Tensor:
    return _matmul_t(x, weight)


def split(x: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return _split(x, sizes, -1)


def transpose(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return ops.transpose(x, axes)


def cast(x: Tensor, dtype: Any) -> Tensor:
    return ops.cast(x, dtype)


def less(x: Tensor, bound: float) -> Tensor:
    return ops.less(x, bound)


def reduce_sum(x: Tensor) -> Tensor:
    return _sum(x, -1)


def div(x: Tensor, by: Tensor) -> Tensor:
    return ops.div(x, by)


def apply_rotary_pos_emb(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """q: (tokens, heads * dim), k: (tokens, kv_heads * dim), cos, sin: float32 (tokens, dim).

    Its inference checks nothing. The operator's library registers bfloat16 and float16 q and k, each with cos and sin
    of float32 or of their own dtype, and int32 lengths (libapply_rotary_pos_emb_op.so of 2.7.1).
    """
    return _rotary(q, k, cos, sin, _lengths(q.shape[0]))


def swiglu(x: Tensor) -> Tensor:
    return ops.swiglu(x, -1)


def scatter_update(cache: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    return ops.scatter_update(cache, rows, values)


def incre_flash_attention(
    q: Tensor, keys: Tensor, values: Tensor, masked: Tensor, heads: int, kv_heads: int, scale: float
) -> Tensor:
    """q: (1, heads, 1, dim), keys and values: (1, kv_heads, capacity, dim), masked: bool (1, 1, 1, capacity), True
    where not to look."""
    return ops.incre_flash_attention(
        q,
        [keys],
        [values],
        masked,
        num_heads=heads,
        input_layout="BNSD",
        scale_value=scale,
        num_key_value_heads=kv_heads,
    )


def flash_attention_score(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """q: (1, S, heads, dim), k and v: (1, N, kv_heads, dim). Causal by sparse mode 3, which takes a fixed mask and lets
    the last query see the last key (mode 2 lets the first query see the first key alone)."""
    return ops.flash_attention_score(
        q, k, v, q.shape[2], attn_mask=_causal_mask(), scalar_value=scale, input_layout="BSND", sparse_mode=3
    )


def moe_gating_top_k_softmax(logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    weights, experts, _ = _gating(logits, None, top_k)
    return weights, experts


def moe_init_routing(x: Tensor, experts: Tensor, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """x: (tokens, H), experts: int32 (tokens, top_k). Nothing is dropped. Returns the tokens in the experts' order
    (tokens * top_k, H), the place there of each (token, choice), int32 (tokens * top_k,), and how many tokens each
    expert has, int32 (num_experts,)."""
    no_limit, keep_all, count = 0, 0, 2
    tokens, places, counts, _ = _init_routing(x, experts, no_limit, no_limit, num_experts, keep_all, count, True)
    return tokens, places, counts


def grouped_matmul(x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """x: (rows, K), weight: (E, K, N), counts: int64 (E,), rows of each expert in turn. (rows, N)."""
    return _grouped_matmul([x], [weight], group_list=counts, split_item=3, group_type=0, group_list_type=1)[0]


def moe_token_unpermute(rows: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """rows: (tokens * top_k, H), places as of moe_init_routing, weights: (tokens, top_k). (tokens, H).

    float32 weights with rows of half precision pass inference; the operator's documentation lists the dtypes of both
    without tying them together.
    """
    return _unpermute(rows, places, weights, False, None)


@constexpr
def _lengths(tokens: int) -> Tensor:
    return Tensor([tokens], ms.int32)


@constexpr
def _causal_mask() -> Tensor:
    return _make_causal_mask()


@cache
def _make_causal_mask() -> Tensor:
    return Tensor(np.triu(np.ones((CAUSAL_MASK_SIZE, CAUSAL_MASK_SIZE), np.bool_), 1))
