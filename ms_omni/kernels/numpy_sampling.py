"""Picking tokens in numpy."""

from __future__ import annotations

import numpy as np


def sample_rows(
    logits: np.ndarray, uniform: np.ndarray, temperature: np.ndarray, top_k: np.ndarray, top_p: np.ndarray
) -> np.ndarray:
    """logits: float32 (rows, vocab). The others: (rows,), of each row as `sample` takes them. int32 (rows,)."""
    if (top_k == 1).all():
        return logits.argmax(1).astype(np.int32)
    return np.array([sample(*row) for row in zip(logits, uniform, temperature, top_k, top_p, strict=True)], np.int32)


def sample(logits: np.ndarray, uniform: float, temperature: float, top_k: int, top_p: float) -> int:
    """logits: (vocab,). As transformers' warpers in their order: temperature, the top_k likeliest, then the fewest of
    those whose probabilities reach top_p; one is drawn by inverting the cumulative distribution, the likeliest first,
    at `uniform`."""
    if top_k == 1:
        return int(logits.argmax())
    scores = logits / np.float32(temperature)
    size = scores.size
    if top_k < size:
        ids = np.argpartition(scores, size - top_k)[size - top_k :]
        ids = ids[np.lexsort((ids, -scores[ids]))]
        falling = scores[ids]
    else:
        falling = np.sort(scores)[::-1]
    chances = np.exp((falling - falling[0]).astype(np.float64))
    reached = np.cumsum(chances)
    kept = 1 + int(np.searchsorted(reached[:-1], top_p * reached[-1]))
    place = min(int(np.searchsorted(reached[:kept], uniform * reached[kept - 1], side="right")), kept - 1)
    if top_k < size:
        return int(ids[place])
    alike = np.flatnonzero(scores == falling[place])  # sorting values is faster than sorting places
    return int(alike[place - int(np.searchsorted(-falling, -falling[place]))])
