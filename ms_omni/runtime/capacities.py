"""How many rows caches of keys and values have: powers of two, since each size is another graph to compile."""

from __future__ import annotations

from typing import Any

from ms_omni import bounds


def capacity(needed: int) -> int:
    """Rows of the cache for `needed` positions."""
    return max(bounds.SMALLEST_CACHE, 1 << (needed - 1).bit_length())


def cache_rows(capacity: int) -> int:
    """Rows of the cache for so many positions: it has a block that is given to nobody."""
    return capacity + bounds.BLOCK_SIZE


def first_capacity(num_prompt: int, max_new_tokens: int) -> int:
    """Of the cache that an answer begins with."""
    return capacity(num_prompt + min(max_new_tokens, bounds.FIRST_ROOM))


def capacities(num_prompt: int, max_new_tokens: int, tokens_per_call: int) -> list[int]:
    """Of all caches that an answer of the longest length uses, the first to the last: each is twice the one before."""
    # The first new token comes with the prompt; a call writes the rows of all its tokens, wanted or not.
    calls = -(-(max_new_tokens - 1) // tokens_per_call)
    last = num_prompt + calls * tokens_per_call
    sizes = [first_capacity(num_prompt, max_new_tokens)]
    while sizes[-1] < last:
        sizes.append(2 * sizes[-1])
    return sizes


def row_bytes(num_layers: int, num_kv_heads: int, head_dim: int, itemsize: int) -> int:
    """Keys and values of one position in all layers. itemsize: bytes of a value."""
    return 2 * num_layers * num_kv_heads * head_dim * itemsize


def config_row_bytes(text: Any, itemsize: int, ranks: int = 1) -> int:
    """As `row_bytes`, on one of `ranks` that share the heads. text: a decoder's part of transformers' configuration."""
    kv_heads = max(1, text.num_key_value_heads // ranks)
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return row_bytes(text.num_hidden_layers, kv_heads, head_dim, itemsize)
