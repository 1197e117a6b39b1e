"""Picks the next tokens on Ascend: graphs for greedy rows, for the LIKELIEST tokens, and for the whole vocabulary.

Only aclnn operators are used, which mint has: ops.topk, ops.cumsum, ops.argmax and slices are legacy operators.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn

LIKELIEST = 128  # tokens that are kept if no row's top_k is larger: sorting the whole vocabulary costs more
NOT_KEPT = -1e30  # a score whose probability is 0


def num_kept(largest_top_k: int, vocabulary: int) -> int:
    """The least of 1, LIKELIEST and the vocabulary that holds every row's top_k."""
    return next(kept for kept in (1, min(LIKELIEST, vocabulary), vocabulary) if kept >= largest_top_k)


def rows_of(x: Tensor, count: int) -> tuple[Tensor, ...]:
    """x: (count, n). Its rows, (n,) each."""
    rows: tuple[Tensor, ...] = ()
    for row in mint.split(x, 1, 0) if count > 1 else (x,):
        rows = (*rows, row.reshape(-1))
    return rows


class Sampler(nn.Cell):
    """Picks a token for each row. kernel_numbers: empty; the CPU's sampler has some."""

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
