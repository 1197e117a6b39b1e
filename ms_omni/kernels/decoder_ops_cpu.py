"""Decoder operators on the CPU: few, large kernels of those that MindSpore's CPU build has, in float32.

Without `ms_omni.kernels.cpu` installed they work as well. Other dtypes are converted on the way in and out.
The experts of many tokens are in `decoder_ops_cpu_experts`.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.common.api import _run_in_jit
from mindspore.ops import constexpr

from ms_omni.kernels.decoder_ops_cpu_experts import experts as experts
from ms_omni.kernels.decoder_ops_cpu_prefill import causal_attention as _causal_attention
from ms_omni.kernels.decoder_ops_cpu_sampler import Sampler as Sampler
from ms_omni.kernels.decoder_ops_cpu_sampler import num_kept as num_kept

JIT_OPTIONS = {"jit_level": "O0"}
TOKENS_IN_NUMPY = True  # one token goes through whole layers in `numpy_blocks`, in float32

SCORES_PER_CHUNK = 1 << 24  # attention scores of a prompt kept at once: 64 MB in float32
MIN_CHUNK = 16

_mean = ops.ReduceMean(keep_dims=True)
_matmul_t = ops.MatMul(transpose_b=True)
_bmm_t = ops.BatchMatMul(transpose_b=True)
_bmm = ops.BatchMatMul()


def pack_experts(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """The experts' weights as `experts` reads them, in a graph and outside: here, as they come. (E, 2I, H) and (E, H,
    I), any dtype."""
    return gate_up, down


def cache_shape(kv_heads: int, capacity: int, dim: int) -> tuple[int, ...]:
    """Of the Parameter that holds keys or values, head by head: here, a row for each head and position."""
    return (kv_heads * capacity, dim)


def cache_rows(kv_heads: int, capacity: int, start: int, end: int) -> np.ndarray:
    """int32: where write_cache puts the positions from `start` to before `end`, and with n added, those from `start` +
    n on. Here, (kv_heads * (end - start),), head by head."""
    return (np.arange(kv_heads)[:, None] * capacity + np.arange(start, end)).reshape(-1).astype(np.int32)


def prepare_mask(mask: Tensor) -> Tensor:
    """The mask as `decode_attention` reads it fastest: here, as it comes. float32 (capacity,)."""
    return mask


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x: (..., H), weight: (H,). x / sqrt(mean(x^2) + eps) * weight over the last axis, in float32.

    Returns x's shape and dtype. Source: Qwen3OmniMoeThinkerTextRMSNorm of transformers 4.57.1.
    """
    wide = _float32(x)
    return (wide * ops.rsqrt(_mean(wide * wide, -1) + eps) * _float32(weight)).astype(x.dtype)


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x, residual: (..., H). (rms_norm(x + residual), x + residual), each of x's dtype; the sum is not rounded before
    it is normalised."""
    total = _float32(x) + _float32(residual)
    return rms_norm(total, weight, eps).astype(x.dtype), total.astype(x.dtype)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x: (tokens, in), weight: (out, in) of the same dtype. x @ weight.T, (tokens, out)."""
    return _matmul_t(x, weight)


def split_qkv(qkv: Tensor, num_heads: int, num_kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """qkv: (tokens, (num_heads + 2 num_kv_heads) * dim), heads of q, then of k, then of v.

    q (tokens, num_heads, dim), k and v (tokens, num_kv_heads, dim).
    """
    heads = qkv.reshape(qkv.shape[0], num_heads + 2 * num_kv_heads, -1)
    first_v = num_heads + num_kv_heads
    return heads[:, :num_heads], heads[:, num_heads:first_v], heads[:, first_v:]


def rotary(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """q: (tokens, heads, dim), k: (tokens, kv_heads, dim); cos, sin: (tokens, dim), the halves alike.

    x * cos + rotate_half(x) * sin in float32; returns q's and k's shapes and dtypes. Source: RoFormer
    (arXiv:2104.09864) in the half-rotation form of `apply_rotary_pos_emb` of transformers 4.57.1.
    """
    tokens, dim = cos.shape
    cos, sin = cos.reshape(tokens, 1, dim), (sin * _signs(dim)).reshape(tokens, 1, dim)
    return _rotated(q, cos, sin), _rotated(k, cos, sin)


def swiglu(gate_up: Tensor) -> Tensor:
    """gate_up: (..., 2I). silu(first half) * second half, (..., I). Source: arXiv:2002.05202."""
    gate, up = ops.split(gate_up, gate_up.shape[-1] // 2, -1)
    return ops.silu(gate) * up


def write_cache(cache: Tensor, values: Tensor, rows: Tensor) -> Tensor:
    """Write rows of a cache in place. cache: Parameter of cache_shape; values: (kv_heads * n, dim) of its dtype, head
    by head; rows: of cache_rows. Returns the cache: read that, and a graph reads after it has written. Outside graphs
    read the Parameter: what an operator returns that writes in place need not share its memory there."""
    return ops.scatter_update(cache, rows, values)


def decode_attention(
    q: Tensor, key_cache: Tensor, value_cache: Tensor, mask: Tensor, num_kv_heads: int, scale: float
) -> Tensor:
    """Attention of one token. q: (heads, dim); caches: of cache_shape; mask: float32 (capacity,), 0
    where a position is filled and below -1e4 where not, or what prepare_mask made of it. Returns (heads * dim,).

    Head h of q reads kv head h // (heads / num_kv_heads). Softmax in float32. Source: grouped-query attention,
    arXiv:2305.13245.
    """
    heads, dim = q.shape
    keys = _float32(key_cache).reshape(num_kv_heads, -1, dim)
    values = _float32(value_cache).reshape(num_kv_heads, -1, dim)
    scores = _bmm_t((_float32(q) * scale).reshape(num_kv_heads, heads // num_kv_heads, dim), keys)
    return _bmm(ops.softmax(scores + mask, -1), values).reshape(heads * dim).astype(q.dtype)


def prefill_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Causal attention of a prompt or its next part. q: (S, heads, dim); k, v: (N, kv_heads, dim), N >= S: the queries
    are the last S of N positions. Returns (S, heads * dim).

    Queries go in chunks, each against the keys up to its end: no more than SCORES_PER_CHUNK scores (or MIN_CHUNK rows)
    are kept at once. Inside a graph the chunks are unrolled: beyond some thousand tokens, call it outside.
    """
    if _run_in_jit():  # @jit.cond: True
        return _unrolled_attention(q, k, v, scale)
    queries, keys, values = (_float32(x).asnumpy() for x in (q, k, v))
    out = _causal_attention(queries, keys, values, scale, _chunk(k.shape[0], q.shape[1]))
    return Tensor.from_numpy(out).astype(q.dtype)


def _unrolled_attention(q: Any, k: Any, v: Any, scale: Any) -> Any:
    num_tokens, heads, dim = q.shape
    num_keys, kv_heads = k.shape[:2]
    before = num_keys - num_tokens
    queries = (_float32(q) * scale).reshape(num_tokens, kv_heads, heads // kv_heads, dim).transpose(1, 2, 0, 3)
    keys, values = _float32(k).transpose(1, 0, 2), _float32(v).transpose(1, 0, 2)
    places = ops.arange(num_keys)
    step = _chunk(num_keys, heads)
    outputs = []
    for start in range(0, num_tokens, step):
        end = min(start + step, num_tokens)
        seen = before + end
        later = places[:seen].reshape(1, seen) > places[before + start : seen].reshape(end - start, 1)
        outputs.append(_attend(queries[:, :, start:end], keys[:, :seen], values[:, :seen], later))
    out = outputs[0] if len(outputs) == 1 else ops.concat(outputs, 2)
    return out.transpose(2, 0, 1, 3).reshape(num_tokens, heads * dim).astype(q.dtype)


def route(x: Tensor, router_weight: Tensor, top_k: int, normalize: bool) -> tuple[Tensor, Tensor]:
    """x: (tokens, H), router_weight: (E, H). The top_k experts of each token by softmax over all E, in float32.

    Returns weights, float32 (tokens, top_k), which add up to 1 if `normalize`, and experts, int32 (tokens, top_k).
    Source: Qwen3OmniMoeThinkerTextSparseMoeBlock of transformers 4.57.1.
    """
    logits = _float32(_matmul_t(x, router_weight))
    if normalize:  # normalised, the experts left out cancel: softmax of the chosen logits is the same
        values, experts = ops.topk(logits, top_k)
        return ops.softmax(values, -1), experts
    weights, experts = ops.topk(ops.softmax(logits, -1), top_k)
    return weights, experts


def _float32(x: Any) -> Any:
    return x if x.dtype == ms.float32 else x.astype(ms.float32)


def _rotated(x: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """The signs of rotate_half are in the sines, which q and k share."""
    wide = _float32(x)
    if x.shape[0] == 1:
        halves_swapped = ops.gather(wide, _swapped(x.shape[-1]), -1)  # one kernel; slow for many rows
    else:
        first, second = ops.split(wide, x.shape[-1] // 2, -1)
        halves_swapped = ops.concat((second, first), -1)
    return (wide * cos + halves_swapped * signed_sin).astype(x.dtype)


@constexpr
def _signs(dim: int) -> Tensor:
    return Tensor(np.repeat(np.array([-1, 1], np.float32), dim // 2))


@constexpr
def _swapped(dim: int) -> Tensor:
    return Tensor(np.roll(np.arange(dim, dtype=np.int32), dim // 2))


def _chunk(num_keys: int, heads: int) -> int:
    return min(num_keys, max(MIN_CHUNK, SCORES_PER_CHUNK // (heads * num_keys)))


def _attend(queries: Tensor, keys: Tensor, values: Tensor, later: Tensor) -> Tensor:
    """queries: (kv_heads, group, rows, dim); keys, values: (kv_heads, n, dim); later: bool (rows, n), what not to see.
    (kv_heads, group, rows, dim)."""
    kv_heads, group, rows, dim = queries.shape
    n = keys.shape[1]
    scores = _bmm_t(queries.reshape(kv_heads, group * rows, dim), keys).reshape(kv_heads, group, rows, n)
    weights = ops.softmax(ops.masked_fill(scores, later, -1e30), -1).reshape(kv_heads, group * rows, n)
    return _bmm(weights, values).reshape(kv_heads, group, rows, dim)
