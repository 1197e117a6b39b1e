"""Picking the next tokens on Ascend: a graph for greedy rows, one for the likeliest tokens, one for all of them.

Of aclnn's operators alone, which mint has: ops.topk, ops.cumsum, ops.argmax and slices are legacy ones.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn

LIKELIEST = 128  # what a vocabulary is cut to where no row's top_k is larger: sorting all of it costs more
NOT_KEPT = -1e30  # a score whose probability is 0


def num_kept(largest_top_k: int, vocabulary: int) -> int:
    """1, LIKELIEST or the vocabulary: the fewest of these that hold the top_k of every row."""
    return next(kept for kept in (1, min(LIKELIEST, vocabulary), vocabulary) if kept >= largest_top_k)


def rows_of(x: Tensor, count: int) -> tuple[Tensor, ...]:
    """x: (count, n). Its rows, (n,) each."""
    rows: tuple[Tensor, ...] = ()
    for row in mint.split(x, 1, 0) if count > 1 else (x,):
        rows = (*rows, row.reshape(-1))
    return rows


class Sampler(nn.Cell):
    """Picks a token for each row. kernel_numbers: as on the CPU, none here."""

    def __init__(self, rows: int, vocabulary: int, num_kept: int, name: str):
        super().__init__()
        self.num_kept, self.keeps_all = num_kept, num_kept == vocabulary
        self.kernel_numbers = ()
        self.places = Tensor(np.arange(num_kept, dtype=np.int32)[None])
        self.nothing, self.not_kept = Tensor(0.0, ms.float32), Tensor(NOT_KEPT, ms.float32)

    def construct(self, logits: Tensor, uniform: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
        """logits: float32 (rows, vocab). uniform: float32 (rows,), from [0, 1). The others: of SamplingTensors. int32
        (rows,): the first token, from the likeliest on, at which the kept ones' probabilities add up to `uniform` of
        them all."""
        if self.num_kept == 1:
            return mint.argmax(logits, -1).astype(ms.int32)
        # topk leaves open whether it sorts equal values by place, sort does so
        falling, ids = (
            mint.sort(logits, dim=-1, descending=True, stable=True)
            if self.keeps_all
            else mint.topk(logits, self.num_kept, -1)
        )
        scores = mint.div(falling, temperature.reshape(-1, 1))
        scores = mint.where(mint.less(self.places, top_k.reshape(-1, 1)), scores, self.not_kept)
        chances = mint.nn.functional.softmax(scores, -1)
        reached = mint.cumsum(chances, -1)
        is_kept = mint.less(mint.sub(reached, chances), top_p.reshape(-1, 1))
        total = mint.amax(mint.where(is_kept, reached, self.nothing), -1, True)
        before = mint.less(reached, mint.mul(total, uniform.reshape(-1, 1)))
        place = mint.sum(before, -1, True, dtype=ms.int64)
        return mint.gather(ids, 1, place).reshape(-1).astype(ms.int32)
