"""Where the rows of a call have their keys and values in a paged cache, and attention over them. float32.

The rows are one token each of several sequences, or consecutive tokens of each: for either, a sequence is some rows and
the blocks that hold all its tokens up to the last of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms_omni.kernels.numpy_math import rotary_of

# Attention scores that are kept at once: 1 MB, which stays in the processor's cache between product and softmax
SCORES_AT_ONCE = 1 << 18
FEWEST_QUERIES = 16
HIDDEN_SCORE = np.float32(-1e30)


@dataclass(slots=True)
class Sequence:
    """rows: those of the call that are its last tokens. length: its tokens, these among them. blocks: of all its
    tokens. first_slot: where they begin if the blocks are consecutive; negative if not."""

    rows: slice
    length: int
    blocks: list[int]
    block_size: int
    first_slot: int

    @classmethod
    def of(cls, rows: slice, length: int, table: np.ndarray, block_size: int) -> Sequence:
        """table: int32 (blocks,), of at least `length` tokens."""
        blocks = table[: -(-length // block_size)].tolist()
        first, count = blocks[0], len(blocks)
        is_run = count == 1 or blocks == list(range(first, first + count))
        return cls(rows, length, blocks, block_size, first * block_size if is_run else -1)

    def slots(self, start: int) -> slice | np.ndarray:
        """Where its tokens from position `start` on go: a slice where the blocks are consecutive."""
        if self.first_slot >= 0:
            return slice(self.first_slot + start, self.first_slot + self.length)
        places = np.arange(start, self.length)
        return np.array(self.blocks)[places // self.block_size] * self.block_size + places % self.block_size

    def read(self, cache: np.ndarray) -> np.ndarray:
        """cache: (slots, kv_heads, dim). (length, kv_heads, dim): a view where the blocks are consecutive, a copy
        elsewhere."""
        if self.first_slot >= 0:
            return cache[self.first_slot : self.first_slot + self.length]
        by_block = cache.reshape(-1, self.block_size, *cache.shape[1:])
        return by_block[self.blocks].reshape(-1, *cache.shape[1:])[: self.length]


@dataclass(slots=True)
class Rows:
    """The rows of a call. rotary: of `rotary_of`. slots: int (rows,) or a slice, where each row's keys and values
    go."""

    rotary: tuple[np.ndarray, np.ndarray]
    slots: slice | np.ndarray
    sequences: list[Sequence]

    @classmethod
    def of_step(cls, angles: np.ndarray, lengths: np.ndarray, block_tables: np.ndarray, block_size: int) -> Rows:
        """One token each of several sequences, its last. angles: (rows, head_dim / 2). lengths: int32 (rows,), of the
        sequences with it. block_tables: int32 (rows, max_blocks)."""
        sequences, slots = [], []
        for row, length in enumerate(lengths.tolist()):
            sequence = Sequence.of(slice(row, row + 1), length, block_tables[row], block_size)
            sequences.append(sequence)
            slots.append(sequence.blocks[-1] * block_size + (length - 1) % block_size)
        where = slice(slots[0], slots[0] + 1) if len(slots) == 1 else np.array(slots, np.int64)  # a slice costs less
        return cls(rotary_of(angles), where, sequences)

    @classmethod
    def of_chunks(cls, angles: np.ndarray, chunks: list[tuple[int, int, np.ndarray]], block_size: int) -> Rows:
        """Consecutive tokens of several sequences, one sequence behind the other. chunks: of each, the first token's
        position, how many there are, and the sequence's blocks, int32."""
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
        """q: (rows, heads, dim), scaled. keys, values: the caches, which have the rows' own. (rows, heads * dim)."""
        if len(self.sequences) == 1:
            only = self.sequences[0]
            return causal_attention(q, only.read(keys), only.read(values))
        out = np.empty((len(q), q.shape[1] * q.shape[2]), np.float32)
        for sequence in self.sequences:
            out[sequence.rows] = causal_attention(q[sequence.rows], sequence.read(keys), sequence.read(values))
        return out


def _numbers(slots: slice | np.ndarray) -> np.ndarray:
    return np.arange(slots.start, slots.stop) if isinstance(slots, slice) else slots


def causal_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """q: (S, heads, dim), scaled; k, v: (N, kv_heads, dim): the queries are the last S of N positions. (S, heads *
    dim). Head h reads kv head h // (heads / kv_heads).

    So many queries at a time as SCORES_AT_ONCE allows, each part against the keys up to its end. BLAS reads keys and
    values where they lie. Source: grouped-query attention, arXiv:2305.13245."""
    tokens, heads, dim = q.shape
    num_keys, kv_heads = k.shape[:2]
    if tokens == 1:
        return attend_one(q, k[None], v[None])
    keys, values = k.transpose(1, 2, 0)[:, None], v.swapaxes(0, 1)[:, None]
    out = np.empty((tokens, kv_heads, heads // kv_heads, dim), np.float32)
    queries, made = (x.reshape(out.shape).transpose(1, 2, 0, 3) for x in (q, out))
    step = max(FEWEST_QUERIES, SCORES_AT_ONCE // (heads * num_keys))
    for start in range(0, tokens, step):
        end = min(start + step, tokens)
        seen = num_keys - tokens + end
        part = queries[:, :, start:end]
        made[:, :, start:end] = _attend(part, keys[..., :seen], values[:, :, :seen], end - start)
    return out.reshape(tokens, heads * dim)


def attend_one(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """One token each of sequences that are equally long. q: (rows, heads, dim), scaled; k, v: (rows, N, kv_heads, dim).
    (rows, heads * dim). A product of a matrix with a vector for each head, which is faster than one of a group's
    heads."""
    rows, _, dim = q.shape
    keys, values = k.transpose(0, 2, 3, 1)[:, :, None], v.swapaxes(1, 2)[:, :, None]
    return _attend(q.reshape(rows, k.shape[2], -1, 1, dim), keys, values, 1).reshape(rows, -1)


def _attend(queries: np.ndarray, keys: np.ndarray, values: np.ndarray, tokens: int) -> np.ndarray:
    """queries: (..., kv_heads, group, tokens, dim), of the last `tokens` positions; keys: (..., kv_heads, 1, dim, n);
    values: (..., kv_heads, 1, n, dim). queries' shape."""
    scores = np.matmul(queries, keys)
    if tokens > 1:
        scores[..., -tokens:] += np.triu(np.full((tokens, tokens), HIDDEN_SCORE), 1)
    scores -= np.maximum.reduce(scores, -1, keepdims=True)
    np.exp(scores, scores)
    out = np.matmul(scores, values)
    out /= np.add.reduce(scores, -1, keepdims=True)
    return out
