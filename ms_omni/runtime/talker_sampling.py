"""Sampling settings of a Talker's call: for the first code of a frame, and for the residual codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor

from ms_omni.config import SamplingParams
from ms_omni.models.talker import CODE_PREDICTOR_SAMPLING, NUM_SPECIALS
from ms_omni.runtime.sampling import GREEDY, Sampling, SamplingTensors

SUPPRESSED = -1e30


@dataclass(frozen=True)
class TalkerSampling:
    """Settings of one conversation. is_eos_suppressed: the end of speech is never picked."""

    talker: Sampling
    predictor: Sampling
    is_eos_suppressed: bool

    @classmethod
    def of(cls, params: SamplingParams) -> TalkerSampling:
        """params: resolved."""
        talker = Sampling.of(params, "talker")
        codes = Sampling(1.0, CODE_PREDICTOR_SAMPLING["top_k"], CODE_PREDICTOR_SAMPLING["top_p"])
        return cls(talker, codes if talker.temperature else GREEDY, params.ignore_eos)


GREEDY_TALKER = TalkerSampling(GREEDY, GREEDY, False)


@dataclass(frozen=True)
class TalkerTensors:
    """`TalkerSampling` of every row of a call, on the device. suppressed: float32 (rows, vocab), to add to the
    logits."""

    talker: SamplingTensors
    predictor: SamplingTensors
    suppressed: Tensor

    @classmethod
    def of(cls, rows: Sequence[TalkerSampling], config: Any, operators: Any) -> TalkerTensors:
        """config: talker_config. operators: the module of decoder_ops. The ids at the end of the vocabulary are no
        codes and are suppressed, except the end of speech where that is allowed."""
        first, codes = config.text_config.vocab_size, config.code_predictor_config.vocab_size
        suppressed = np.zeros((len(rows), first), np.float32)
        suppressed[:, max(first - NUM_SPECIALS, 0) :] = SUPPRESSED
        for row, sampling in zip(suppressed, rows, strict=True):
            if not sampling.is_eos_suppressed:
                row[config.codec_eos_token_id] = 0
        return cls(
            SamplingTensors.of([row.talker for row in rows], first, operators),
            SamplingTensors.of([row.predictor for row in rows], codes, operators),
            Tensor(suppressed),
        )

    @property
    def num_kept(self) -> tuple[int, int]:
        """Of the Talker, and of its code predictor."""
        return self.talker.num_kept, self.predictor.num_kept

    @property
    def first_code(self) -> tuple[Tensor, ...]:
        """In the order of the arguments of `TalkerGraph.choose`."""
        return (self.talker.penalty, self.suppressed, *self.talker.tensors)
