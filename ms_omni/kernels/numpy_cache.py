"""Where the rows of a call keep their keys and values in a paged cache, and attention over them. float32.

The rows are one token, or consecutive tokens, of each of several sequences. Here a sequence is its rows in the call and
the blocks that hold all of its tokens up to the last of these rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms_omni.kernels.numpy_attention import Segment, attention
from ms_omni.kernels.numpy_math import rotary_of


@dataclass(slots=True)
class Sequence:
    """rows: of the call, its last tokens. length: all of its tokens, these included. blocks: hold all of its tokens.
    first_slot: of the first token if the blocks are consecutive, else negative."""

    rows: slice
    length: int
    blocks: list[int]
    block_size: int
    first_slot: int

    @classmethod
    def of(cls, rows: slice, length: int, table: np.ndarray, block_size: int) -> Sequence:
        """table: int32 (blocks,), for at least `length` tokens."""
        blocks = table[: -(-length // block_size)].tolist()
        first, count = blocks[0], len(blocks)
        is_run = count == 1 or blocks == list(range(first, first + count))
        return cls(rows, length, blocks, block_size, first * block_size if is_run else -1)

    def slots(self, start: int) -> slice | np.ndarray:
        """The cache slots of its tokens from position `start` on; a slice where the blocks are consecutive."""
        if self.first_slot >= 0:
            return slice(self.first_slot + start, self.first_slot + self.length)
        places = np.arange(start, self.length)
        return np.array(self.blocks)[places // self.block_size] * self.block_size + places % self.block_size

    def read(self, cache: np.ndarray) -> np.ndarray:
        """cache: (slots, kv_heads, dim). (length, kv_heads, dim): a view where the blocks are consecutive, else a
        copy."""
        if self.first_slot >= 0:
            return cache[self.first_slot : self.first_slot + self.length]
        by_block = cache.reshape(-1, self.block_size, *cache.shape[1:])
        return by_block[self.blocks].reshape(-1, *cache.shape[1:])[: self.length]


@dataclass(slots=True)
class Rows:
    """The rows of a call. rotary: of `rotary_of`. slots: int (rows,) or a slice: the cache slot of each row."""

    rotary: tuple[np.ndarray, np.ndarray]
    slots: slice | np.ndarray
    sequences: list[Sequence]

    @classmethod
    def of_step(cls, angles: np.ndarray, lengths: np.ndarray, block_tables: np.ndarray, block_size: int) -> Rows:
        """The last token of each of several sequences. angles: (rows, head_dim / 2). lengths: int32 (rows,), of the
        sequences, this token included. block_tables: int32 (rows, max_blocks)."""
        sequences, slots = [], []
        for row, length in enumerate(lengths.tolist()):
            sequence = Sequence.of(slice(row, row + 1), length, block_tables[row], block_size)
            sequences.append(sequence)
            slots.append(sequence.blocks[-1] * block_size + (length - 1) % block_size)
        where = slice(slots[0], slots[0] + 1) if len(slots) == 1 else np.array(slots, np.int64)  # a slice costs less
        return cls(rotary_of(angles), where, sequences)

    @classmethod
    def of_chunks(cls, angles: np.ndarray, chunks: list[tuple[int, int, np.ndarray]], block_size: int) -> Rows:
        """Consecutive tokens of several sequences, one sequence after the other. chunks: of each, the first token's
        position, the number of tokens, and the sequence's blocks, int32."""
        sequences, slots, begin = [], [], 0
        for start, count, blocks in chunks:
            sequences.append(Sequence.of(slice(begin, begin + count), start + count, blocks, block_size))
            slots.append(sequences[-1].slots(start))
            begin += count
        where = slots[0] if len(slots) == 1 else np.concatenate([_numbers(each) for each in slots])
        return cls(rotary_of(angles), where, sequences)

    def write(self, cache: np.ndarray, values: np.ndarray) -> None:
        """values: (rows, kv_heads, dim), into `cache`, (slots, kv_heads, dim)."""
        cache[self.slots] = values

    def attend(self, q: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """q: (rows, heads, dim), scaled. keys, values: the caches, in which the rows' own are written. (rows, heads *
        dim). Head h reads kv head h // (heads / kv_heads)."""
        num_rows, heads, dim = q.shape
        if num_rows == 1:
            only = self.sequences[0]
            return attend_one(q, only.read(keys)[None], only.read(values)[None])
        if num_rows > len(self.sequences):
            queries = q.reshape(num_rows, keys.shape[1], -1, dim).swapaxes(0, 1)
            segments = [
                Segment(each.rows, each.read(keys).swapaxes(0, 1), each.read(values).swapaxes(0, 1))
                for each in self.sequences
            ]
            return attention(queries, segments, is_causal=True).reshape(num_rows, heads * dim)
        out = np.empty((num_rows, heads * dim), np.float32)
        for each in self.sequences:
            out[each.rows] = attend_one(q[each.rows], each.read(keys)[None], each.read(values)[None])
        return out


def _numbers(slots: slice | np.ndarray) -> np.ndarray:
    return np.arange(slots.start, slots.stop) if isinstance(slots, slice) else slots


def attend_one(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """One token of each of several sequences of equal length. q: (rows, heads, dim), scaled. k, v: (rows, N, kv_heads,
    dim). (rows, heads * dim). A matrix-vector product for each head, faster than one product for a group's heads."""
    rows, _, dim = q.shape
    keys, values = k.transpose(0, 2, 3, 1)[:, :, None], v.swapaxes(1, 2)[:, :, None]
    scores = np.matmul(q.reshape(rows, k.shape[2], -1, 1, dim), keys)
    scores -= np.maximum.reduce(scores, -1, keepdims=True)
    np.exp(scores, scores)
    out = np.matmul(scores, values)
    out /= np.add.reduce(scores, -1, keepdims=True)
    return out.reshape(rows, -1)
