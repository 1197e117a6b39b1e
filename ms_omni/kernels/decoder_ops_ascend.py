"""Decoder operators on Ascend, made of MindSpore 2.7.1's fused operators, in bfloat16 or float16. Never run on a card.

CANN documents each operator for A2 and A3, and MindSpore launches it alike in graphs and outside
(docs/decode-on-ascend.md names the alternatives). Operators on caches, which it launches differently, are in
`decoder_ops_ascend_paged`, experts in `decoder_ops_ascend_experts`, and 8-bit weights in `decoder_ops_ascend_int8`.
`acceptance/formulas.py` has all formulas in float64. Where MindSpore's inference does not check shapes, the functions
here do, before anything is launched.
"""

from __future__ import annotations

from mindspore import Tensor

from ms_omni.kernels import decoder_ops_ascend_primitives as primitives
from ms_omni.kernels.decoder_ops_ascend_experts import experts as experts
from ms_omni.kernels.decoder_ops_ascend_experts import pack_experts as pack_experts
from ms_omni.kernels.decoder_ops_ascend_experts import route as route
from ms_omni.kernels.decoder_ops_ascend_int8 import dynamic_experts as dynamic_experts
from ms_omni.kernels.decoder_ops_ascend_int8 import dynamic_linear as dynamic_linear
from ms_omni.kernels.decoder_ops_ascend_int8 import int8_experts as int8_experts
from ms_omni.kernels.decoder_ops_ascend_int8 import int8_linear as int8_linear
from ms_omni.kernels.decoder_ops_ascend_int8 import scale_dtype as scale_dtype
from ms_omni.kernels.decoder_ops_ascend_paged import decode_attention as decode_attention
from ms_omni.kernels.decoder_ops_ascend_paged import extend_frame as extend_frame
from ms_omni.kernels.decoder_ops_ascend_paged import frame_attention as frame_attention
from ms_omni.kernels.decoder_ops_ascend_paged import read_cache as read_cache
from ms_omni.kernels.decoder_ops_ascend_paged import write_cache as write_cache
from ms_omni.kernels.decoder_ops_ascend_primitives import add_rms_norm as add_rms_norm
from ms_omni.kernels.decoder_ops_ascend_primitives import linear as linear
from ms_omni.kernels.decoder_ops_ascend_primitives import rms_norm as rms_norm
from ms_omni.kernels.decoder_ops_ascend_primitives import split as split
from ms_omni.kernels.decoder_ops_ascend_primitives import swiglu as swiglu
from ms_omni.kernels.decoder_ops_ascend_sampler import Sampler as Sampler
from ms_omni.kernels.decoder_ops_ascend_sampler import num_kept as num_kept
from ms_omni.kernels.decoder_ops_ascend_sampler import rows_of as rows_of

# infer_boost: norms, products and casts of a graph are MindSpore's internal kernels
JIT_OPTIONS = {"jit_level": "O0", "infer_boost": "on"}
IN_NUMPY = False
ONE_TOKEN_A_GRAPH = True


def split_qkv(qkv: Tensor, num_heads: int, num_kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """qkv: (tokens, (num_heads + 2 num_kv_heads) * dim). Returns q (tokens, num_heads, dim) and k, v (tokens,
    num_kv_heads, dim)."""
    dim = qkv.shape[1] // (num_heads + 2 * num_kv_heads)
    q, k, v = primitives.split(qkv, (num_heads * dim, num_kv_heads * dim, num_kv_heads * dim))
    return q.reshape(-1, num_heads, dim), k.reshape(-1, num_kv_heads, dim), v.reshape(-1, num_kv_heads, dim)


def rotary(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """q: (tokens, heads, dim), k: (tokens, kv_heads, dim). cos, sin: (tokens, dim) as in transformers, or (dim,) for
    all tokens, of the dtype of q; another dtype costs two casts in every layer. Returns q and k, rotated."""
    heads, dim = q.shape[1:]
    if cos.shape[-1] != dim or sin.shape[-1] != dim or k.shape[2] != dim:
        raise ValueError("rotary: expected q (tokens, heads, dim), k (tokens, kv_heads, dim), cos, sin (tokens, dim)")
    is_one = cos.ndim == 1
    cos, sin = primitives.cast(cos, q.dtype), primitives.cast(sin, q.dtype)
    cos, sin = cos.reshape(1, -1, 1, dim), sin.reshape(1, -1, 1, dim)
    # Tokens are the operator's sequence, or a batch where one angle is for all of them
    batch, length = (-1, 1) if is_one else (1, -1)
    rotated_q = primitives.rotary_position_embedding(q.reshape(batch, length, heads, dim), cos, sin)
    rotated_k = primitives.rotary_position_embedding(k.reshape(batch, length, k.shape[1], dim), cos, sin)
    return rotated_q.reshape(-1, heads, dim), rotated_k.reshape(-1, k.shape[1], dim)


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
