"""Sampling settings of the rows of a decode call. Settings and random numbers are inputs of the graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor, ops

from ms_omni.config import SamplingParams
from ms_omni.scheduling.sequence import Stage


@dataclass(frozen=True)
class Sampling:
    """Settings of one stage of one conversation. temperature 0: greedy. top_k 0: all tokens. top_p 1: all of those.
    penalty: of repeated tokens; 1 is none."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    penalty: float = 1.0

    @classmethod
    def of(cls, params: SamplingParams, stage: Stage) -> Sampling:
        """params: resolved."""
        names = ("temperature", "top_k", "top_p", "repetition_penalty")
        temperature, top_k, top_p, penalty = (getattr(params, f"{stage}_{name}") for name in names)
        if not temperature:
            return cls(penalty=float(penalty))
        return cls(float(temperature), int(top_k), float(top_p), float(penalty))


GREEDY = Sampling()


@dataclass(frozen=True)
class SamplingTensors:
    """`Sampling` of every row of a call, on the device, as a `Sampler` reads it.

    num_kept: how many of the likeliest tokens the device must look at, 1 where all rows are greedy. It is a constant of
    the graph; each device has a few values. penalizes: whether any row has a penalty. temperature, top_p, penalty:
    float32 (rows,). top_k: int32 (rows,)."""

    num_kept: int
    penalizes: bool
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    penalty: Tensor

    @classmethod
    def of(cls, rows: Sequence[Sampling], vocabulary: int, operators: Any) -> SamplingTensors:
        """operators: the module of decoder_ops. A greedy row keeps the likeliest token only."""
        kept = [1 if not row.temperature else min(row.top_k or vocabulary, vocabulary) for row in rows]
        return cls(
            operators.num_kept(max(kept), vocabulary),
            any(row.penalty != 1 for row in rows),
            Tensor(np.array([row.temperature or 1.0 for row in rows], np.float32)),
            Tensor(np.array(kept, np.int32)),
            Tensor(np.array([row.top_p if row.temperature else 1.0 for row in rows], np.float32)),
            Tensor(np.array([row.penalty for row in rows], np.float32)),
        )

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """In the order of `Sampler`'s arguments."""
        return self.temperature, self.top_k, self.top_p


def penalize_repeated(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """logits, seen: float32 (rows, vocab), seen 1 where a token was made before. penalty: float32 (rows,), 1 for none.
    Divides positive logits of those by it and multiplies negative ones (transformers
    `RepetitionPenaltyLogitsProcessor`)."""
    by_row = penalty.reshape(-1, 1)
    punished = ops.select(logits < 0, logits * by_row, logits / by_row)
    return ops.select(seen > 0, punished, logits)


def with_token(seen: Tensor, vocabulary: Tensor, token: Tensor) -> Tensor:
    """`seen` of `penalize_repeated` with the tokens that the rows have picked, int32 (rows,). vocabulary: int32 (1,
    vocab), every id."""
    return ops.maximum(seen, (vocabulary == token.reshape(-1, 1)).astype(seen.dtype))
