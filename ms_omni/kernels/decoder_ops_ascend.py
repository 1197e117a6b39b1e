"""Decoder operators on Ascend, of MindSpore 2.7.1's fused operators, in bfloat16 or float16. Never run on a card.

Each is one that CANN documents for A2 and A3 and that MindSpore launches alike in graphs and outside, on hosts with few
and many cores (docs/decode.md says what was passed over).
What each computes is written out in float64 in `acceptance/formulas.py`. Where inference does not check shapes, the
operator here does, before anything is launched.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.kernels import decoder_ops_ascend_primitives as primitives
from ms_omni.kernels.decoder_ops_ascend_sampler import Sampler as Sampler
from ms_omni.kernels.decoder_ops_ascend_sampler import num_kept as num_kept

# infer_boost: norms, products and casts of a graph are MindSpore's internal kernels
JIT_OPTIONS = {"jit_level": "O0", "infer_boost": "on"}
IN_NUMPY = False


def pack_experts(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """gate_up: (E, 2I, H), down: (E, H, I). GroupedMatmulV4 cannot transpose: (E, H, 2I) and (E, I, H), outside graphs
    as views."""
    return primitives.transpose(gate_up, (0, 2, 1)), primitives.transpose(down, (0, 2, 1))


def cache_shape(kv_heads: int, capacity: int, dim: int) -> tuple[int, ...]:
    """Head by head, with the batch in front that the operators want."""
    return (1, kv_heads, capacity, dim)


def cache_rows(kv_heads: int, capacity: int, start: int, end: int) -> np.ndarray:
    """The first one: write_cache finds the others, and the heads."""
    return np.array([start], np.int32)


def prepare_mask(mask: Tensor) -> Tensor:
    """mask: float32 (capacity,), 0 or very negative. bool (capacity,), True where not to look."""
    return primitives.less(mask, 0.0)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x: (..., H), weight: (H,) of x's dtype. The operator takes the variance in float32."""
    return primitives.rms_norm(x, weight, eps)


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x, residual: (..., H), weight: (H,). (normed, sum)."""
    return primitives.add_rms_norm(x, residual, weight, eps)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x: (tokens, in), weight: (out, in). (tokens, out)."""
    return primitives.matmul(x, weight)


def split_qkv(qkv: Tensor, num_heads: int, num_kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """qkv: (tokens, (num_heads + 2 num_kv_heads) * dim). q: (tokens, num_heads, dim), k, v: (tokens, num_kv_heads,
    dim)."""
    dim = qkv.shape[1] // (num_heads + 2 * num_kv_heads)
    q, k, v = primitives.split(qkv, (num_heads * dim, num_kv_heads * dim, num_kv_heads * dim))
    return q.reshape(-1, num_heads, dim), k.reshape(-1, num_kv_heads, dim), v.reshape(-1, num_kv_heads, dim)


def rotary(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """q: (tokens, heads, dim), k: (tokens, kv_heads, dim), cos, sin: (tokens, dim) of their dtype, as transformers has
    them; float32 ones will do, for two more operators in every layer."""
    heads, dim = q.shape[1:]
    if cos.shape[1] != dim or sin.shape[1] != dim or k.shape[2] != dim:
        raise ValueError("rotary: expected q (tokens, heads, dim), k (tokens, kv_heads, dim), cos, sin (tokens, dim)")
    cos, sin = _as(cos, q.dtype).reshape(1, -1, 1, dim), _as(sin, q.dtype).reshape(1, -1, 1, dim)
    rotated_q = primitives.rotary_position_embedding(q.reshape(1, -1, heads, dim), cos, sin)
    rotated_k = primitives.rotary_position_embedding(k.reshape(1, -1, k.shape[1], dim), cos, sin)
    return rotated_q.reshape(-1, heads, dim), rotated_k.reshape(-1, k.shape[1], dim)


def swiglu(gate_up: Tensor) -> Tensor:
    """gate_up: (..., 2I). (..., I)."""
    return primitives.swiglu(gate_up)


def write_cache(cache: Tensor, values: Tensor, rows: Tensor) -> Tensor:
    """cache: Parameter of cache_shape, values: (kv_heads * n, dim) of its dtype, head by head, rows: int32 (1,) of
    cache_rows. The cache, for a graph; outside, read the Parameter.

    Not ReshapeAndCache, whose blocks hold all heads of a position: decode_attention reads the cache head by head.
    """
    if len(cache.shape) != 4 or values.shape[1] != cache.shape[3] or values.shape[0] % cache.shape[1]:
        raise ValueError("write_cache: expected a cache (1, kv_heads, capacity, dim) and values (kv_heads * n, dim)")
    return primitives.scatter_update(cache, rows, values.reshape(1, cache.shape[1], -1, cache.shape[3]))


def decode_attention(
    q: Tensor, key_cache: Tensor, value_cache: Tensor, mask: Tensor, num_kv_heads: int, scale: float
) -> Tensor:
    """q: (heads, dim), caches: of cache_shape, mask: of prepare_mask; the float32 mask will do, for one more operator
    in every layer. (heads * dim,).

    Not IncreFlashAttention nor FusedInferAttentionScore, which take lists of tensors.
    """
    heads, dim = q.shape
    if key_cache.shape != (1, num_kv_heads, mask.shape[0], dim) or value_cache.shape != key_cache.shape:
        raise ValueError("decode_attention: expected caches (1, num_kv_heads, capacity, dim) and a mask (capacity,)")
    hidden = mask if mask.dtype == ms.bool_ else prepare_mask(mask)
    out = primitives.attention(
        q.reshape(1, heads, 1, dim), key_cache, value_cache, hidden.reshape(1, 1, 1, -1), heads, num_kv_heads, scale
    )
    return out.reshape(heads * dim)


def prefill_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """q: (S, heads, dim), k, v: (N, kv_heads, dim), N >= S: the queries are the last positions. (S, heads * dim). No
    mask of the prompt's size."""
    tokens, heads, dim = q.shape
    if k.shape != v.shape or k.shape[0] < tokens or k.shape[2] != dim or heads % k.shape[1]:
        raise ValueError("prefill_attention: expected q (S, heads, dim), k and v (N, kv_heads, dim), N >= S")
    # Outside graphs they may be views, of the projection or of a cache, which the operator does not take
    joined = [x.contiguous().reshape(1, x.shape[0], -1) for x in (q, k, v)]
    out = primitives.causal_attention(joined[0], joined[1], joined[2], heads, k.shape[1], scale)
    return out.reshape(tokens, heads * dim)


def route(x: Tensor, router_weight: Tensor, top_k: int, normalize: bool) -> tuple[Tensor, Tensor]:
    """x: (tokens, H), router_weight: (E, H). float32 weights and int32 experts, (tokens, top_k)."""
    logits = _as(primitives.matmul(x, router_weight), ms.float32)
    weights, experts = primitives.moe_gating_top_k_softmax(logits, top_k)
    if normalize:
        weights = primitives.div(weights, primitives.reduce_sum(weights))
    return weights, experts


def experts(x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """x: (tokens, H), weights: float32, experts: int32 (tokens, top_k), gate_up and down of pack_experts. (tokens, H).

    Raises ValueError for experts' weights that are not packed.
    """
    size, inner = x.shape[1], down.shape[1]
    if gate_up.shape[1:] != (size, 2 * inner) or down.shape[2] != size:
        raise ValueError("experts: gate_up and down must come from pack_experts: (E, H, 2I) and (E, I, H)")
    rows, places, counts = primitives.moe_init_routing(x, experts, gate_up.shape[0])
    counts = _as(counts, ms.int64)
    hidden = primitives.swiglu(primitives.grouped_matmul(rows, gate_up, counts))
    rows = primitives.grouped_matmul(hidden, down, counts)
    return primitives.moe_token_unpermute(rows, places, _as(weights, x.dtype))


def _as(x: Tensor, dtype: Any) -> Tensor:
    return x if x.dtype == dtype else primitives.cast(x, dtype)
