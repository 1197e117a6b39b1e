"""Picking the next tokens on Ascend: a graph for greedy rows, one for the likeliest tokens, one for all of them."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

LIKELIEST = 128  # what a vocabulary is cut to where no row's top_k is larger: sorting all of it costs more


def num_kept(largest_top_k: int, vocabulary: int) -> int:
    """1, LIKELIEST or the vocabulary: the fewest of these that hold the top_k of every row."""
    return next(kept for kept in (1, min(LIKELIEST, vocabulary), vocabulary) if kept >= largest_top_k)


class Sampler(nn.Cell):
    """Picks a token for each row. kernel_numbers: as on the CPU, none here."""

    def __init__(self, rows: int, vocabulary: int, num_kept: int, name: str):
        super().__init__()
        self.num_kept = num_kept
        self.kernel_numbers = ()
        self.places = Tensor(np.arange(num_kept, dtype=np.int32)[None])

    def construct(self, logits: Tensor, uniform: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
        """logits: float32 (rows, vocab). uniform: float32 (rows,), from [0, 1). The others: of SamplingTensors. int32
        (rows,)."""
        if self.num_kept == 1:
            return ops.argmax(logits, -1).astype(ms.int32)
        scores, ids = ops.topk(logits, self.num_kept)
        is_kept = (self.places < top_k.reshape(-1, 1)).astype(ms.float32)
        chances = ops.softmax(scores / temperature.reshape(-1, 1), -1) * is_kept
        reached = ops.cumsum(chances, -1)
        is_kept = (reached - chances < top_p.reshape(-1, 1) * reached[:, self.num_kept - 1 :]).astype(ms.float32)
        chances = chances * is_kept
        reached = ops.cumsum(chances, -1)
        at_or_below = (reached <= uniform.reshape(-1, 1) * reached[:, self.num_kept - 1 :]).astype(ms.float32)
        last = (chances > 0).astype(ms.float32).sum(-1, keepdims=True) - 1
        place = ops.minimum(at_or_below.sum(-1, keepdims=True), last).astype(ms.int32)
        return ops.gather_elements(ids, 1, place).reshape(-1).astype(ms.int32)
