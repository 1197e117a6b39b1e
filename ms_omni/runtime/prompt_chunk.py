"""Chunks of prompts, which are prefilled together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mindspore import Tensor, mint

from ms_omni.kernels.concatenate import concatenated


@dataclass(frozen=True)
class PromptChunk:
    """Consecutive tokens of one prompt.

    x: (tokens, hidden), their embeddings. positions: float32 (tokens,) or (3, tokens), rotary. blocks: of the cache,
    that hold the prompt. start: the first token's place in the prompt; those before it are in the cache. levels:
    (tokens, hidden) for each of the first layers, added to what it puts out. owner: whose cache it is."""

    x: Tensor
    positions: np.ndarray
    blocks: Sequence[int]
    start: int
    levels: tuple[Tensor, ...] = ()
    owner: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of this chunk."""
        return int(self.x.shape[0])

    @property
    def end(self) -> int:
        """The place in the prompt behind this chunk."""
        return self.start + self.num_tokens

    def slots(self, block_size: int) -> np.ndarray:
        """Where its tokens go in the cache, int32 (tokens,)."""
        places = np.arange(self.start, self.end, dtype=np.int32)
        return np.asarray(self.blocks, np.int32)[places // block_size] * block_size + places % block_size


def joined_embeddings(chunks: Sequence[PromptChunk]) -> Tensor:
    """The embeddings of all chunks, (all tokens, hidden)."""
    return concatenated([chunk.x for chunk in chunks])


def joined_levels(chunks: Sequence[PromptChunk]) -> list[Tensor]:
    """The deepstack features of all chunks, (all tokens, hidden) for each layer that has some; zeros where a chunk has
    none."""
    count = max(len(chunk.levels) for chunk in chunks)
    if len(chunks) == 1:
        return list(chunks[0].levels)
    return [
        mint.cat([chunk.levels[i] if i < len(chunk.levels) else mint.zeros_like(chunk.x) for chunk in chunks], dim=0)
        for i in range(count)
    ]


def row_slices(chunks: Sequence[PromptChunk]) -> list[slice]:
    """The rows of each chunk among the tokens of all."""
    ends = np.cumsum([chunk.num_tokens for chunk in chunks]).tolist()
    return [slice(end - chunk.num_tokens, end) for chunk, end in zip(chunks, ends, strict=True)]
