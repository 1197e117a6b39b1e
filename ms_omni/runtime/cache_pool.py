"""Caches by capacity: as small as the sequence allows, grown when it gets there, kept for the next one."""

from __future__ import annotations

from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.kv_cache import KeyValueCache

SMALLEST = 256
# Room for new tokens that a sequence starts with. Attention on the CPU goes over the whole capacity, so a maximum of
# thousands of tokens is not allocated before it is needed.
FIRST_ROOM = 384


class CachePool:
    """Powers of two: each is another graph to compile, so there should be few."""

    def __init__(self, decoder: StackedDecoder, name: str):
        self._decoder, self._name = decoder, name
        self._caches: dict[int, KeyValueCache] = {}

    def start(self, num_prompt: int, max_new_tokens: int) -> KeyValueCache:
        """A cache for a prompt and the first of its new tokens."""
        return self._of(num_prompt + min(max_new_tokens, FIRST_ROOM))

    def reaching(self, cache: KeyValueCache, position: int) -> KeyValueCache:
        """`cache`, or a larger one with its content, so that there is a row for `position`."""
        if position < cache.capacity:
            return cache
        larger = self._of(position + 1)
        larger.take_over(cache)
        return larger

    def _of(self, needed: int) -> KeyValueCache:
        capacity = max(SMALLEST, 1 << (needed - 1).bit_length())
        if capacity not in self._caches:
            name = f"{self._name}.cache{capacity}"
            self._caches[capacity] = self._decoder.new_cache(capacity, name)
        return self._caches[capacity]
