"""Decoder operators on Ascend that write and read caches, for rows of several conversations. Never run on a card.

A cache is (num_blocks, BLOCK_SIZE, kv_heads, dim); slot s of it is offset s % BLOCK_SIZE of block s // BLOCK_SIZE.

`decode_attention` is MindSpore's internal PagedAttention. Its kernel is told the lengths on the host, and MindSpore
2.7.1 takes them from the input of the running graph that is named LENGTHS_NAME, whatever tensor the operator is given;
of another name it finds none, or those of the last graph that had one. It hands them to CANN's operators of attention
(PromptFlashAttention, IncreFlashAttention, FusedInferAttentionScore) in every later graph of the process too, instead
of their own. So:

- what is compiled has a parameter of that name, int32 (B,), the lengths of this call, and gives it to every layer;
- it takes one token a row: a second one would need other lengths;
- no graph of the process uses CANN's operators of attention: the code predictor has `frame_attention`, and prompts go
  operator by operator, where these take their own lengths;
- the process has 16 cores or more: on fewer, MindSpore does not look for the name, and PagedAttention fails.

FusedInferAttentionScore, which reads the same caches, would copy them whole in every layer, as it takes them as lists,
and without the name wait for the lengths in every layer.
"""

from __future__ import annotations

from mindspore import Tensor
from mindspore.common.api import _run_in_jit

from ms_omni.kernels import decoder_ops_ascend_primitives as primitives

LENGTHS_NAME = "batch_valid_length"


def write_cache(key_cache: Tensor, value_cache: Tensor, k: Tensor, v: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
    """caches: Parameters (num_blocks, BLOCK_SIZE, kv_heads, dim), k, v: (tokens, kv_heads, dim) of their dtype, slots:
    int32 (tokens,). The caches, for a graph to read after it has written; outside, read the Parameters."""
    tokens, width = k.shape[0], key_cache.shape[2] * key_cache.shape[3]
    if k.shape[1:] != key_cache.shape[2:] or v.shape != k.shape or value_cache.shape != key_cache.shape:
        raise ValueError("write_cache: expected caches (blocks, size, kv_heads, dim), k and v (tokens, kv_heads, dim)")
    if _run_in_jit():  # @jit.cond: True
        rows = k.reshape(tokens, width), v.reshape(tokens, width)
        written = primitives.reshape_and_cache(rows[0], rows[1], key_cache, value_cache, slots)
        return primitives.after(key_cache, written), primitives.after(value_cache, written)
    # The internal kernel is for graphs; outside MindSpore asks CANN for an operator that it does not document
    for cache, rows in ((key_cache, k), (value_cache, v)):
        primitives.put(cache.view(-1, *cache.shape[2:]), slots, rows)
    return key_cache, value_cache


def decode_attention(
    q: Tensor, key_cache: Tensor, value_cache: Tensor, block_tables: Tensor, context_lens: Tensor, scale: float
) -> Tensor:
    """q: (B, heads, dim), caches: of write_cache, block_tables: int32 (B, max_blocks), context_lens: int32 (B,), the
    graph's input LENGTHS_NAME. (B, heads * dim). In graphs alone."""
    rows, heads, dim = q.shape
    kv_heads = key_cache.shape[2]
    if key_cache.shape[3] != dim or value_cache.shape != key_cache.shape or heads % kv_heads:
        raise ValueError("decode_attention: expected q (B, heads, dim), caches (blocks, size, kv_heads, dim)")
    joined = q.reshape(rows, heads * dim)
    return primitives.paged_attention(
        joined, key_cache, value_cache, block_tables, context_lens, heads, kv_heads, scale
    )


def frame_attention(q: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Attention of rows that have as many tokens each, by products: PagedAttention would take another decoder's
    lengths. q: (B, heads, dim), keys, values: (B, kv_heads, n, dim), of which all is seen. (B, heads * dim)."""
    rows, heads, dim = q.shape
    kv_heads = keys.shape[1]
    if keys.shape[0] != rows or keys.shape[3] != dim or values.shape != keys.shape or heads % kv_heads:
        raise ValueError("frame_attention: expected q (B, heads, dim), keys and values (B, kv_heads, n, dim)")
    grouped = primitives.mul(q, scale).reshape(rows, kv_heads, heads // kv_heads, dim)
    shares = primitives.softmax(primitives.batch_matmul_t(grouped, keys))
    return primitives.batch_matmul(shares, values).reshape(rows, heads * dim)


def extend_frame(cache: Tensor, new: Tensor) -> Tensor:
    """cache: (B, kv_heads, n, dim), what earlier tokens of a frame left, new: (B, kv_heads, dim). (B, kv_heads, n + 1,
    dim). The first token's is `new` as (B, kv_heads, 1, dim)."""
    rows, kv_heads, _, dim = cache.shape
    if new.shape != (rows, kv_heads, dim):
        raise ValueError("extend_frame: expected a cache (B, kv_heads, n, dim) and new rows (B, kv_heads, dim)")
    return primitives.concat((cache, new.reshape(rows, kv_heads, 1, dim)), 2)


def read_cache(cache: Tensor, block_table: Tensor, length: int) -> Tensor:
    """cache: of write_cache, block_table: int32 (max_blocks,), one row's, which has at least `length` tokens. (length,
    kv_heads, dim), a copy. Outside graphs."""
    size = cache.shape[1]
    blocks = primitives.take(cache, block_table[: -(-length // size)])
    return blocks.reshape(-1, *cache.shape[2:])[:length]
