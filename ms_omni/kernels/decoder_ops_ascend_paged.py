"""Decoder operators on Ascend that write and read caches, for rows of several conversations. Never run on a card.

A cache is (num_blocks, BLOCK_SIZE, kv_heads, dim); slot s of it is offset s % BLOCK_SIZE of block s // BLOCK_SIZE.

`decode_attention` is MindSpore's internal PagedAttention, whose kernel reads the lengths on the host. MindSpore 2.7.1
takes them from the input named batch_valid_length of the running graph, whatever tensor the operator is given. Without
such an input it finds no lengths, or those of the last graph that had one. In every later graph of the process it also
hands them to CANN's attention operators (PromptFlashAttention, IncreFlashAttention, FusedInferAttentionScore) in place
of their own. Therefore:

- a compiled graph has a parameter of that name, int32 (B,), the lengths of this call, and gives it to every layer;
- it makes one token for each row: a second one would need other lengths;
- no graph of the process uses CANN's attention operators: the code predictor has `frame_attention`, and prompts run
  operator by operator, where each operator takes its own lengths;
- the compiler may not know the number of rows: reshapes use -1 there, and only the other sizes are checked;
- the host has at least 12 cores: on fewer, MindSpore does not look for the name, and PagedAttention fails.

FusedInferAttentionScore reads the same caches, but takes them as lists, which copies them whole in every layer; without
the name it would also wait for the lengths in every layer.
"""

from __future__ import annotations

from mindspore import Tensor, mint, ops

from ms_omni.kernels import decoder_ops_ascend_primitives as primitives
from ms_omni.kernels.mindspore_internals import _run_in_jit

_bmm = ops.BatchMatMul()
_bmm_t = ops.BatchMatMul(transpose_b=True)


def write_cache(key_cache: Tensor, value_cache: Tensor, k: Tensor, v: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
    """caches: Parameters (num_blocks, BLOCK_SIZE, kv_heads, dim), k, v: (tokens, kv_heads, dim) of their dtype, slots:
    int32 (tokens,). In a graph, read the returned caches: they depend on the writing. Outside, read the Parameters."""
    shape, width = key_cache.shape[2:], key_cache.shape[2] * key_cache.shape[3]
    if k.shape[1:] != shape or v.shape[1:] != shape or value_cache.shape != key_cache.shape:
        raise ValueError("write_cache: expected caches (blocks, size, kv_heads, dim), k and v (tokens, kv_heads, dim)")
    if _run_in_jit():  # @jit.cond: True
        rows = k.reshape(-1, width), v.reshape(-1, width)
        written = primitives.reshape_and_cache(rows[0], rows[1], key_cache, value_cache, slots)
        return ops.depend(key_cache, written), ops.depend(value_cache, written)
    # The internal kernel is for graphs; outside them MindSpore would call a CANN operator that is not documented
    for cache, rows in ((key_cache, k), (value_cache, v)):
        cache.view(-1, *cache.shape[2:]).index_put_((slots,), rows)
    return key_cache, value_cache


def decode_attention(
    q: Tensor, key_cache: Tensor, value_cache: Tensor, block_tables: Tensor, context_lens: Tensor, scale: float
) -> Tensor:
    """q: (B, heads, dim), caches: of write_cache, block_tables: int32 (B, max_blocks), context_lens: int32 (B,), the
    graph's input batch_valid_length. (B, heads * dim). In graphs alone."""
    heads, dim = q.shape[1:]
    kv_heads = key_cache.shape[2]
    if key_cache.shape[3] != dim or value_cache.shape != key_cache.shape or heads % kv_heads:
        raise ValueError("decode_attention: expected q (B, heads, dim), caches (blocks, size, kv_heads, dim)")
    joined = q.reshape(-1, heads * dim)
    return primitives.paged_attention(
        joined, key_cache, value_cache, block_tables, context_lens, heads, kv_heads, scale
    )


def frame_attention(q: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Attention of rows with equally many tokens, by matrix products: PagedAttention would take another decoder's
    lengths. q: (B, heads, dim), keys, values: (B, kv_heads, n, dim), all visible. (B, heads * dim)."""
    heads, dim = q.shape[1:]
    kv_heads = keys.shape[1]
    if keys.shape[3] != dim or values.shape[1:] != keys.shape[1:] or heads % kv_heads:
        raise ValueError("frame_attention: expected q (B, heads, dim), keys and values (B, kv_heads, n, dim)")
    grouped = mint.mul(q, scale).reshape(-1, kv_heads, heads // kv_heads, dim)
    # softmax computes in float32 and rounds once
    probabilities = mint.nn.functional.softmax(_bmm_t(grouped, keys), -1)
    return _bmm(probabilities, values).reshape(-1, heads * dim)


def extend_frame(cache: Tensor, new: Tensor) -> Tensor:
    """cache: (B, kv_heads, n, dim), of earlier tokens of a frame, new: (B, kv_heads, dim). (B, kv_heads, n + 1,
    dim)."""
    kv_heads, dim = cache.shape[1], cache.shape[3]
    if new.shape[1:] != (kv_heads, dim):
        raise ValueError("extend_frame: expected a cache (B, kv_heads, n, dim) and new rows (B, kv_heads, dim)")
    return mint.cat((cache, new.reshape(-1, kv_heads, 1, dim)), 2)


def read_cache(cache: Tensor, block_table: Tensor, length: int) -> Tensor:
    """cache: of write_cache, block_table: int32 (max_blocks,), of a row with at least `length` tokens. A copy, (length,
    kv_heads, dim). Outside graphs."""
    size = cache.shape[1]
    blocks = mint.index_select(cache, 0, block_table[: -(-length // size)])
    return blocks.reshape(-1, *cache.shape[2:])[:length]
