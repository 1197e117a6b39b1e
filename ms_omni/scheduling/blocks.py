"""Allocates the blocks of a paged key-value cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ms_omni.limits import BLOCK_SIZE


class BlockAllocator:
    """The blocks of one decoder's cache. Padding rows write to block 0, which belongs to no sequence."""

    def __init__(self, num_blocks: int, block_size: int = BLOCK_SIZE):
        """num_blocks: with block 0. block_size: tokens of a block."""
        self._block_size = block_size
        self._is_free = np.ones(num_blocks, bool)
        self._is_free[0] = False

    @property
    def num_free(self) -> int:
        """Blocks that no sequence has."""
        return int(self._is_free.sum())

    def num_needed(self, num_tokens: int) -> int:
        """Blocks that so many tokens need."""
        return -(-num_tokens // self._block_size)

    def can_allocate(self, num_tokens: int) -> bool:
        """Whether `allocate` would succeed."""
        return self.num_needed(num_tokens) <= self.num_free

    def allocate(self, num_tokens: int) -> list[int]:
        """Blocks for so many tokens, in the order of the tokens. They are consecutive if possible, taken from the
        smallest gap that is large enough, since a contiguous sequence can be read without a copy. Raises ValueError
        where too few are free."""
        count, free = self.num_needed(num_tokens), np.flatnonzero(self._is_free)
        if count > len(free):
            raise ValueError(f"{num_tokens} tokens need {count} blocks, {len(free)} are free")
        runs = np.split(free, np.flatnonzero(np.diff(free) != 1) + 1)
        fitting = [run for run in runs if len(run) >= count]
        blocks = (min(fitting, key=len) if fitting else free)[:count]
        self._is_free[blocks] = False
        return [int(block) for block in blocks]

    def free(self, blocks: Sequence[int]) -> None:
        """Takes back what `allocate` gave. Raises ValueError for blocks that it did not give."""
        given = np.asarray(blocks, int)
        if (given < 1).any() or (given >= len(self._is_free)).any() or self._is_free[given].any():
            raise ValueError(f"blocks {list(blocks)}: not all of them are in use")
        self._is_free[given] = True
