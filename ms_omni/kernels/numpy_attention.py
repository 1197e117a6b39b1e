"""Attention of many queries on every core: within the segments of an encoder, or of a prompt over its tokens so far.

Queries and keys are processed in tiles whose scores stay in a core's cache. Only sums are kept of a tile, and the
maximum where exp could overflow (FlashAttention, arXiv:2205.14135). float32."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ms_omni.kernels.host_threads import equal_parts, in_parallel
from ms_omni.kernels.matmul import matmul_each
from ms_omni.kernels.numpy_activations import exp, row_sums

# Queries and keys whose scores a thread works on together: 512 KB, a core's second-level cache.
QUERIES_AT_ONCE, KEYS_AT_ONCE = 256, 512
# Scores within this are used as they are: exp of them is far from float32's ends.
LARGEST_SCORE = 40.0
HIDDEN_SCORE = np.float32(-1e30)


@dataclass(frozen=True, slots=True)
class Segment:
    """rows: attend together. keys, values: (kv_heads, n, dim), which they see."""

    rows: slice
    keys: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class _Tile:
    """queries: (kv_heads, rows, group, dim). longest: (kv_heads,), of the keys. out: (rows, kv_heads, group, dim), to
    be written. is_causal: as for `attention`."""

    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    longest: np.ndarray
    out: np.ndarray
    is_causal: bool

    def work(self) -> None:
        """Writes `out`, for some heads and some keys at a time."""
        kv_heads, tokens, group, dim = self.queries.shape
        queries, count = self.queries.reshape(kv_heads, tokens * group, dim), self.keys.shape[1]
        are_small = float((_longest(queries) * self.longest).max()) <= LARGEST_SCORE
        parts = equal_parts(count, math.ceil(count / KEYS_AT_ONCE))
        scores_a_head = tokens * group * min(count, KEYS_AT_ONCE)
        together = max(1, QUERIES_AT_ONCE * KEYS_AT_ONCE // scores_a_head)
        memory = np.empty(min(together, kv_heads) * scores_a_head, np.float32)
        for first in range(0, kv_heads, together):
            heads = slice(first, min(first + together, kv_heads))
            made = np.zeros(queries[heads].shape, np.float32)
            total = np.zeros((*made.shape[:2], 1), np.float32)
            highest = np.full(total.shape, -np.inf, np.float32)
            for start, end in parts:
                scores = memory[: total.size * (end - start)].reshape(*total.shape[:2], -1)
                matmul_each(queries[heads], self.keys[heads, start:end].swapaxes(1, 2), scores)
                if self.is_causal and end > count - tokens:
                    hidden = _hidden(tokens)[:, max(0, start - count + tokens) : end - count + tokens]
                    scores.reshape(-1, tokens, group, end - start)[..., -hidden.shape[1] :] += hidden[:, None]
                if not are_small:
                    before, highest = highest, np.maximum(highest, scores.max(-1, keepdims=True))
                    scores -= highest
                    fading = np.exp(before - highest)
                    made *= fading
                    total *= fading
                exp(scores)
                total += row_sums(scores)
                made += matmul_each(scores, self.values[heads, start:end], np.empty_like(made))
            made /= total
            self.out[:, heads] = made.reshape(-1, tokens, group, dim).swapaxes(0, 1)


def attention(queries: np.ndarray, segments: Iterable[Segment], is_causal: bool = False) -> np.ndarray:
    """queries: (kv_heads, rows, group, dim), scaled; a group's heads share keys and values. segments: cover all rows.
    is_causal: the rows of a segment are the last of its n positions, and each sees the positions up to its own. Returns
    (rows, kv_heads, group, dim).

    Source: grouped-query attention, arXiv:2305.13245."""
    kv_heads, num_rows, group, dim = queries.shape
    out = np.empty((num_rows, kv_heads, group, dim), np.float32)
    tiles: list[_Tile] = []
    for segment in segments:
        count, first = segment.rows.stop - segment.rows.start, segment.rows.start
        longest, seen = _longest(segment.keys), segment.keys.shape[1]
        for start, end in equal_parts(count, math.ceil(count * group / QUERIES_AT_ONCE)):
            rows = slice(first + start, first + end)
            last = seen - count + end if is_causal else seen
            keys, values = segment.keys[:, :last], segment.values[:, :last]
            tiles.append(_Tile(queries[:, rows], keys, values, longest, out[rows], is_causal))
    work = sum(2 * tile.queries.size * tile.keys.shape[1] for tile in tiles)
    in_parallel(_Tile.work, reversed(tiles), work)  # the largest first
    return out


def _longest(x: np.ndarray) -> np.ndarray:
    """x: (heads, n, dim). The length of the longest vector of each head, (heads,): |q . k| <= |q| |k|."""
    return np.sqrt(np.einsum("...i,...i->...", x, x).max(-1))


@lru_cache(16)
def _hidden(tokens: int) -> np.ndarray:
    """(tokens, tokens): HIDDEN_SCORE where a query's position is before a key's, 0 elsewhere."""
    return np.triu(np.full((tokens, tokens), HIDDEN_SCORE), 1)
