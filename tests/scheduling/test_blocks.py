"""Blocks of a cache: none twice, in one piece where there is room, all back."""

import numpy as np
import pytest

from ms_omni.scheduling.blocks import BlockAllocator


def test_tokens_in_blocks_by_hand():
    allocator = BlockAllocator(num_blocks=6, block_size=4)
    assert allocator.num_free == 5  # block 0 is nobody's
    assert [allocator.num_needed(tokens) for tokens in (1, 4, 5, 20)] == [1, 1, 2, 5]
    assert allocator.can_allocate(20) and not allocator.can_allocate(21)
    assert allocator.allocate(9) == [1, 2, 3]
    with pytest.raises(ValueError, match="12 tokens need 3 blocks, 2 are free"):
        allocator.allocate(12)


def test_smallest_place_in_one_piece_first_any_blocks_otherwise():
    allocator = BlockAllocator(num_blocks=11, block_size=1)
    held = [allocator.allocate(1) for _ in range(10)]
    for block in (2, 3, 4, 6, 8, 9):
        allocator.free(held[block - 1])
    assert allocator.allocate(2) == [8, 9]
    assert allocator.allocate(1) == [6]
    allocator.free([6])
    assert allocator.allocate(4) == [2, 3, 4, 6]


@pytest.mark.parametrize("blocks", [[0], [3], [6], [-1], [1, 5]])
def test_only_what_was_given_is_taken_back(blocks):
    allocator = BlockAllocator(num_blocks=6, block_size=4)
    allocator.allocate(8)
    with pytest.raises(ValueError, match="not all of them are in use"):
        allocator.free(blocks)


def test_nothing_is_lost_over_many_sequences():
    random = np.random.default_rng(0)
    allocator, held = BlockAllocator(num_blocks=64, block_size=8), []
    for _ in range(2000):
        tokens = int(random.integers(1, 200))
        if allocator.can_allocate(tokens):
            held.append(allocator.allocate(tokens))
        elif held:
            allocator.free(held.pop(int(random.integers(len(held)))))
        used = [block for blocks in held for block in blocks]
        assert len(used) == len(set(used)) == 63 - allocator.num_free
    for blocks in held:
        allocator.free(blocks)
    assert allocator.num_free == 63
