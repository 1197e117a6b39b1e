"""Picking the next token on the device: greedy, or temperature, top-k and top-p with random numbers from the host."""

from __future__ import annotations

from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops


@dataclass(frozen=True)
class Warp:
    """How one stage picks. temperature 0 is greedy; top_k 0 keeps every token; top_p 1 keeps all of those. Constants of
    a compiled graph: another Warp is another graph."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0


GREEDY = Warp()


def pick(logits: Tensor, uniform: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """logits: float32 (1, vocab). uniform: float32 (), from [0, 1). Returns int32 (1,).

    As transformers' warpers in their order: temperature, the k likeliest, then the fewest likeliest whose probabilities
    reach top_p; one is drawn by inverting the cumulative distribution at `uniform`."""
    if temperature == 0:
        return ops.argmax(logits, -1).astype(ms.int32)
    scores = logits / temperature
    num_kept = scores.shape[-1]
    if 0 < top_k < num_kept:
        num_kept = top_k
    ids = scores  # replaced below; graphs want every name bound
    is_sorted = num_kept < scores.shape[-1] or top_p < 1
    if is_sorted:
        scores, ids = ops.topk(scores, num_kept)
    chances = ops.softmax(scores, -1)
    if top_p < 1:
        reached_before = ops.cumsum(chances, -1) - chances
        chances = chances * (reached_before < top_p).astype(ms.float32)
    cumulative = ops.cumsum(chances, -1)
    at_or_below = (cumulative <= uniform * cumulative[:, num_kept - 1 :]).astype(ms.float32)
    place = ops.minimum(at_or_below.sum(-1), num_kept - 1).astype(ms.int32)
    if is_sorted:
        return ops.gather(ids.reshape(-1), place, 0).astype(ms.int32)
    return place


class UniformStream:
    """Random numbers of one stage of one answer: the same for a seed whatever the number of ranks, and whatever the
    number of tokens a graph makes in one call."""

    def __init__(self, seed: int | None, stage: int):
        """stage: a number that keeps the streams of one seed apart."""
        sequence = np.random.SeedSequence(entropy=seed, spawn_key=(stage,))
        self._generator = np.random.Generator(np.random.Philox(sequence))

    def draw(self, *shape: int) -> Tensor:
        """float32, in [0, 1)."""
        return Tensor(self._generator.random(shape, dtype=np.float32))


def penalize_repeated(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """logits, seen: float32 (1, vocab), seen 1 where a token was made before. Divides positive logits of those by
    `penalty` and multiplies negative ones (transformers `RepetitionPenaltyLogitsProcessor`)."""
    if penalty == 1:
        return logits
    punished = ops.select(logits < 0, logits * penalty, logits / penalty)
    return ops.select(seen > 0, punished, logits)
