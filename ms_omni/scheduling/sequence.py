"""One decoder's part of a request: tokens, cache blocks, random numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Stage = Literal["thinker", "talker"]
# Separate random streams for the two decoders of a request, which share its seed
_RANDOM_STREAMS: dict[Stage, int] = {"thinker": 0, "talker": 1}


def random_numbers(seed: int, stage: Stage) -> np.random.Generator:
    """The generator for one decoder of a request. It depends on the seed only, not on other requests or ranks."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(_RANDOM_STREAMS[stage],))
    return np.random.Generator(np.random.Philox(sequence))


@dataclass
class Sequence:
    """One decoder's side of a request: a prompt of `num_prompt` tokens and the new `token_ids`.

    stop_ids: tokens that end the sequence; they become its last token. blocks: of the cache, in the order of the
    tokens. num_computed: prompt tokens whose keys and values are in the cache. rope_delta: rotary position minus index
    of new tokens; set when the executor starts the sequence."""

    stage: Stage
    num_prompt: int
    max_new_tokens: int
    stop_ids: tuple[int, ...]
    random: np.random.Generator
    blocks: list[int] = field(default_factory=list)
    is_started: bool = False
    num_computed: int = 0
    rope_delta: float = 0.0
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None

    @property
    def is_prefilled(self) -> bool:
        """Whether the whole prompt is in the cache."""
        return self.num_computed == self.num_prompt

    def next_span(self, chunk: int) -> tuple[int, int]:
        """(start, stop) of the next prompt tokens to compute, at most `chunk`."""
        return self.num_computed, min(self.num_computed + chunk, self.num_prompt)

    @property
    def is_decoding(self) -> bool:
        """Whether decode steps are to follow."""
        return self.is_prefilled and self.finish_reason is None

    @property
    def position(self) -> int:
        """Index of the last token, which the next decode step reads."""
        return self.num_prompt + len(self.token_ids) - 1

    @property
    def num_read(self) -> int:
        """New tokens that are or will be input of a step: all but the one that ends the sequence."""
        return len(self.token_ids) - (self.finish_reason is not None)

    def draw(self, count: int) -> np.ndarray:
        """The next random numbers, float32 (count,) in [0, 1). They do not depend on how many are drawn at a time:
        token i of the Thinker always gets number i."""
        return self.random.random(count, dtype=np.float32)

    def extend(self, ids: list[int]) -> list[int]:
        """Appends new tokens up to the one that ends the sequence. Returns the appended ones."""
        taken: list[int] = []
        for token in ids:
            if self.finish_reason is not None:
                break
            taken.append(token)
            if token in self.stop_ids:
                self.finish_reason = "stop"
            elif len(self.token_ids) + len(taken) == self.max_new_tokens:
                self.finish_reason = "length"
        self.token_ids += taken
        return taken
