"""Intervals and significance of figures: rows are drawn with replacement, and the answers of two runs are exchanged.

Counts are summed over a draw before its figure is computed, so that this is the figure of a whole corpus and not a mean
of rows (Bisani and Ney 2004 for error rates; Koehn 2004 for BLEU)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ms_omni.evaluation.metric import Floats

LEVEL = 95
# How many rows, of all draws together, are in memory at a time
_MOST_AT_ONCE = 2_000_000


def drawn_sums(rng: np.random.Generator, counts: Floats, num: int) -> Floats:
    """counts: (rows, C). Sums of as many rows, drawn with replacement, `num` times: (num, C)."""
    rows = len(counts)
    parts = []
    for size in _parts(rows, num):
        drawn = rng.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
        parts.append(times @ counts)
    return np.concatenate(parts)


def exchanged_sums(rng: np.random.Generator, a: Floats, b: Floats, num: int) -> tuple[Floats, Floats]:
    """a, b: (rows, C) of two runs. Sums of both where each row's two answers have changed places with probability 1/2,
    `num` times: (num, C) each."""
    rows, gained = len(a), a - b
    kept = np.concatenate([rng.integers(2, size=(size, rows)) @ gained for size in _parts(rows, num)])
    sums = kept + b.sum(axis=0)
    return sums, a.sum(axis=0) + b.sum(axis=0) - sums


def interval(values: Floats) -> tuple[float, float]:
    """values: (num,) of draws. The limits of the middle 95 % of them (percentile bootstrap); not a number if there are
    no finite values."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def p_value(observed: float, by_chance: Floats) -> float:
    """How often chance alone makes a difference at least as large, in either direction. by_chance: (num,) differences.
    The observed one is counted among them, so that p is never 0 (approximate randomisation: Riezler and Maxwell
    2005)."""
    # the same sums in another order differ in their last digits
    as_large = np.abs(by_chance) >= abs(observed) - 1e-9
    return float((1 + np.count_nonzero(as_large)) / (1 + len(by_chance)))


def _parts(rows: int, num: int) -> Iterator[int]:
    """Sizes of the parts in which `num` draws are made."""
    size = max(1, _MOST_AT_ONCE // rows)
    for start in range(0, num, size):
        yield min(size, num - start)
