"""How many blocks a decoder's cache has, and that it costs a CPU nothing before it is used."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ms_omni import OmniError
from ms_omni.parallel.collectives import GroupOps
from ms_omni.parallel.world import World
from ms_omni.runtime.cache_sizes import CacheSizes, config_row_bytes

DECODER = SimpleNamespace(hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2)
ROW = (10, 3)
BLOCK = 128 * 13


def test_bytes_of_a_position_by_hand():
    assert config_row_bytes(DECODER, 4) == 2 * 3 * 2 * 16 * 4
    assert config_row_bytes(DECODER, 2, ranks=2) == config_row_bytes(DECODER, 2, ranks=8) == 2 * 3 * 1 * 16 * 2


@pytest.mark.parametrize(
    ("free", "positions", "asked", "expected"),
    [
        # As much as all conversations can use, and the block of nobody
        (10**9, 8192, 2, CacheSizes(2 * 64 + 1, 2, 64)),
        # What nobody knows is enough for usual ones, and for one of the longest
        (None, 8193, 2, CacheSizes(65 + 1, 2, 65)),
        (None, 8193, 4, CacheSizes(4 * 32 + 1, 4, 65)),
        (10**9, 8192, None, CacheSizes(16 * 64 + 1, 16, 64)),
        # As much as is free, in four digits: 99 of 100 are usable, 96 used
        (100 * BLOCK, 65536, 2, CacheSizes(97, 2, 96)),
        (100 * BLOCK + BLOCK // 2, 65536, 32, CacheSizes(97, 32, 96)),
        # By themselves as many conversations as can have 4096 tokens
        (100 * BLOCK, 65536, None, CacheSizes(97, 3, 96)),
        (9 * BLOCK, 65536, None, CacheSizes(9, 1, 8)),
    ],
)
def test_sizes(free, positions, asked, expected):
    assert CacheSizes.of(free, ROW, positions, asked) == expected


@pytest.mark.parametrize(
    ("free", "positions", "asked", "owners", "expected"),
    [
        # Three owners have seven conversations: three of them each, at most
        (10**9, 8192, 7, 3, CacheSizes(3 * 64 + 1, 7, 64)),
        (None, 8193, 8, 4, CacheSizes(65 + 1, 8, 65)),
        (10**9, 8192, None, 2, CacheSizes(8 * 64 + 1, 16, 64)),
        # 96 blocks with each, as much as there is: three usual ones there, as much as a conversation can have
        (100 * BLOCK, 65536, None, 2, CacheSizes(97, 6, 96)),
        (10 * BLOCK, 65536, 32, 4, CacheSizes(9 + 1, 32, 9)),
    ],
)
def test_sizes_of_each_owner(free, positions, asked, owners, expected):
    assert CacheSizes.of(free, ROW, positions, asked, owners) == expected


def test_more_than_fits_all_owners_is_refused():
    message = f"--max-num-seqs 9: 4 blocks .* need {4 * BLOCK} bytes .* each of 4 ranks, {3 * BLOCK} .*most 8"
    with pytest.raises(OmniError, match=message):
        CacheSizes.of(3 * BLOCK, ROW, 65536, 9, 4)
    assert CacheSizes.of(3 * BLOCK, ROW, 65536, 8, 4).max_num_seqs == 8


def test_what_does_not_fit_is_refused_by_flag_and_bytes():
    with pytest.raises(
        OmniError, match=f"--max-num-seqs 9: 10 blocks .* need {10 * BLOCK} bytes .* {9 * BLOCK} .*most 8"
    ):
        CacheSizes.of(9 * BLOCK, ROW, 65536, 9)
    with pytest.raises(OmniError, match="--max-num-seqs .* at most 0"):
        CacheSizes.of(BLOCK, ROW, 65536, None)
    for count in (0, 33):
        with pytest.raises(OmniError, match=f"--max-num-seqs {count}: expected 1 to 32"):
            CacheSizes.of(None, ROW, 65536, count)


@pytest.mark.parametrize("mode", ["ep", "tp", "zero3"])
def test_a_rank_has_the_pool_of_its_share_and_of_the_fewest_blocks(tiny_dir, cpu, monkeypatch, mode):
    import mindspore as ms

    from ms_omni.runtime import fused_executor as module
    from ms_omni.runtime.fused_executor import FusedExecutor

    def gather(x):
        """This rank's, and what another one has: a MiB less, or of something else as much."""
        return ms.mint.cat([x, x - 1])

    def limits(world, parallel):
        options = {"dtype": ms.float32, "attn_implementation": "eager", "with_talker": False}
        return FusedExecutor(tiny_dir, "CPU", parallel=parallel, world=world, **options).limits

    monkeypatch.setattr(module, "free_device_bytes", lambda device: 64 << 20)
    whole = limits(World(), "none").pools["thinker"]
    ops = GroupOps(None, gather, (), widens=True, sums_integers=True)
    shared = limits(replace(World(0, 2, 2), ops=ops), mode)
    part, owners = shared.pools["thinker"], 2 if mode == "zero3" else 1
    assert shared.num_owners == owners
    assert part.block_bytes == whole.block_bytes // (2 if mode == "tp" else 1)
    # A quarter is for caches, a half of it for each process
    least = CacheSizes.of((8 << 20) - (1 << 20), [part.block_bytes // 128], 65540, None, owners)
    assert (part.num_blocks, shared.max_num_seqs) == (least.num_blocks, least.max_num_seqs)


def test_a_pool_takes_memory_as_it_is_used(fused):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    decoder = fused.executor.talker.decoder
    before = resident()
    cache = decoder.new_cache(4000, "unused")
    size = sum(part.asnumpy().nbytes for part in (*cache.keys, *cache.values))
    assert size > 1 << 28 and resident() - before < size / 50
    cache.keys[0].asnumpy()[7] = 1
    assert cache.keys[0].asnumpy()[7].all() and np.float32(cache.keys[0][7, 0, 0, 0].asnumpy()) == 1


def test_a_process_forks_beside_pools_that_are_larger_than_its_machine(fused):
    """As it must to start another program. Two pools of one machine's memory each: more than Linux would count for."""
    decoder = fused.executor.talker.decoder
    least = decoder.new_cache(2, "least")
    block_bytes = sum(part.asnumpy().nbytes for part in (*least.keys, *least.values)) // 2
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    pools = [decoder.new_cache(memory // block_bytes, f"pool {number}") for number in range(2)]
    pid = os.fork()
    if not pid:
        os._exit(0)
    assert os.waitpid(pid, 0) == (pid, 0) and len(pools) == 2
