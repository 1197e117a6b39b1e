"""Caches by capacity: as small as the sequence allows, grown when it gets there, kept for the next one."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.bounds import BLOCK_SIZE
from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.runtime.capacities import cache_rows, capacities, capacity, first_capacity, row_bytes
from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.kv_cache import PagedKVCache


class CachePool:
    """Those of one decoder."""

    def __init__(self, decoder: StackedDecoder, name: str):
        self._decoder, self._name = decoder, name
        self._caches: dict[int, PagedKVCache] = {}

    def start(self, num_prompt: int, max_new_tokens: int) -> PagedKVCache:
        """A cache for a prompt and the first of its new tokens."""
        return self._of(first_capacity(num_prompt, max_new_tokens))

    def reaching(self, cache: PagedKVCache, position: int) -> PagedKVCache:
        """`cache`, or a larger one with its content, so that there is a row for `position`."""
        if position < len(sequence_blocks(cache)) * BLOCK_SIZE:
            return cache
        larger = self._of(capacity(position + 1))
        larger.take_over(cache)
        return larger

    def missing_bytes(self, num_prompt: int, max_new_tokens: int, tokens_per_call: int) -> int:
        """What this process would still allocate for an answer of the longest length: its share of keys and values,
        without the caches that are there."""
        spec, itemsize = self._decoder.spec, numpy_dtype(self._decoder.stored_dtype).itemsize
        sizes = capacities(num_prompt, max_new_tokens, tokens_per_call)
        rows = sum(cache_rows(n) for n in sizes if n not in self._caches)
        return rows * row_bytes(spec.num_layers, spec.num_kv_heads, spec.head_dim, itemsize)

    def _of(self, rows: int) -> PagedKVCache:
        if rows not in self._caches:
            self._caches[rows] = self._decoder.new_cache(1 + -(-rows // BLOCK_SIZE), f"{self._name}.cache{rows}")
        return self._caches[rows]


def sequence_blocks(cache: PagedKVCache) -> range:
    """Of the one sequence that a cache of this pool holds."""
    return range(1, cache.num_blocks)


def places(position: int, delta: float, blocks: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """A row's number of tokens with the one at `position`, that one's rotary position, and the row's block table."""
    table = Tensor(np.array([blocks], np.int32))
    return Tensor([position + 1], ms.int32), Tensor([position + delta], ms.float32), table
