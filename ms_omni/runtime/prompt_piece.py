"""Tokens of prompts that go through a decoder's layers together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mindspore import Tensor, mint


@dataclass(frozen=True)
class PromptPiece:
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
        """Of this piece."""
        return int(self.x.shape[0])

    @property
    def end(self) -> int:
        """How many tokens of the prompt are read with these."""
        return self.start + self.num_tokens

    def slots(self, block_size: int) -> np.ndarray:
        """Where its tokens go in the cache, int32 (tokens,)."""
        places = np.arange(self.start, self.end, dtype=np.int32)
        return np.asarray(self.blocks, np.int32)[places // block_size] * block_size + places % block_size


def joined_embeddings(pieces: Sequence[PromptPiece]) -> Tensor:
    """One behind the other, (all tokens, hidden)."""
    return pieces[0].x if len(pieces) == 1 else mint.cat([piece.x for piece in pieces], dim=0)


def joined_levels(pieces: Sequence[PromptPiece]) -> list[Tensor]:
    """Of each layer that adds something, for all tokens, (all tokens, hidden): nothing is zeros."""
    count = max(len(piece.levels) for piece in pieces)
    if len(pieces) == 1:
        return list(pieces[0].levels)
    return [
        mint.cat([piece.levels[i] if i < len(piece.levels) else mint.zeros_like(piece.x) for piece in pieces], dim=0)
        for i in range(count)
    ]


def row_slices(pieces: Sequence[PromptPiece]) -> list[slice]:
    """Of each piece: its tokens among those of all."""
    ends = np.cumsum([piece.num_tokens for piece in pieces]).tolist()
    return [slice(end - piece.num_tokens, end) for piece, end in zip(pieces, ends, strict=True)]
