"""How many blocks the paged caches have, and how many conversations share them. Arithmetic only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.limits import BLOCK_SIZE, BUCKETS

# Of the memory that is free after loading. The rest of a card is for activations; a host has other work to do.
SHARE_OF_FREE = {"CPU": 0.25, "Ascend": 0.75}
# Conversations at once, unless asked for others, if all can have the tokens of usual ones.
DEFAULT_NUM_SEQS = 16
USUAL_TOKENS = 4096
# A count is rounded down to so many binary digits, so that the same machine mostly compiles the same graphs.
SIGNIFICANT_BITS = 4
GIB = 1 << 30


@dataclass(frozen=True)
class CacheSizes:
    """num_blocks: of each decoder's cache on a rank, with block 0, which is for padding. max_num_seqs: conversations at
    once. max_blocks: the most that one conversation can have."""

    num_blocks: int
    max_num_seqs: int
    max_blocks: int

    @classmethod
    def of(
        cls,
        free_bytes: int | None,
        row_bytes: Collection[int],
        positions: int,
        max_num_seqs: int | None,
        num_owners: int = 1,
    ) -> CacheSizes:
        """free_bytes: for all caches of a rank together; None if unknown: then there is room for usual conversations.
        row_bytes: of one token, in each decoder. All decoders have the same number of blocks, since their sequences are
        about equally long. positions: the most tokens of one conversation. max_num_seqs: None for as many as fit, at
        most DEFAULT_NUM_SEQS. num_owners: ranks between which conversations are divided. Raises OmniError for more than
        fit."""
        wanted = DEFAULT_NUM_SEQS if max_num_seqs is None else max_num_seqs
        if not 1 <= wanted <= BUCKETS[-1]:
            raise OmniError(f"--max-num-seqs {max_num_seqs}: expected 1 to {BUCKETS[-1]}")
        longest, usual = num_blocks_of(positions), num_blocks_of(USUAL_TOKENS)
        block_bytes = BLOCK_SIZE * sum(row_bytes)
        each = -(-wanted // num_owners)  # conversations of an owner
        if free_bytes is None:
            usable = max(longest, each * usual)
        else:
            usable = min(each * longest, _rounded(free_bytes // block_bytes - 1))
        if usable < (1 if max_num_seqs is None else each):
            where = "" if num_owners == 1 else f" on each of {num_owners} ranks"
            raise OmniError(
                f"--max-num-seqs {wanted}: {each + 1} blocks of {BLOCK_SIZE} tokens' keys and values need "
                f"{(each + 1) * block_bytes} bytes ({(each + 1) * block_bytes / GIB:.1f} GiB){where}, {free_bytes} "
                f"bytes ({(free_bytes or 0) / GIB:.1f} GiB) are left for them; expected at most "
                f"{num_owners * max(usable, 0)}"
            )
        if max_num_seqs is None:
            wanted = max(1, min(wanted, num_owners * (usable // usual)))
            each = -(-wanted // num_owners)
        return cls(min(usable, each * longest) + 1, wanted, min(usable, longest))


def num_blocks_of(num_tokens: int) -> int:
    """Blocks for so many tokens."""
    return -(-num_tokens // BLOCK_SIZE)


def row_bytes(num_layers: int, num_kv_heads: int, head_dim: int, itemsize: int) -> int:
    """Keys and values of one position in all layers. itemsize: bytes of a value."""
    return 2 * num_layers * num_kv_heads * head_dim * itemsize


def config_row_bytes(text: Any, itemsize: int, ranks: int = 1) -> int:
    """As `row_bytes`, on one of `ranks` that share the heads. text: a decoder's part of transformers' configuration."""
    kv_heads = max(1, text.num_key_value_heads // ranks)
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return row_bytes(text.num_hidden_layers, kv_heads, head_dim, itemsize)


def _rounded(count: int) -> int:
    unit = 1 << max(0, max(count, 0).bit_length() - SIGNIFICANT_BITS)
    return count // unit * unit
