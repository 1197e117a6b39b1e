"""What the executor keeps of a request on the device, from its start to its release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mindspore import Tensor, ops

from ms_omni.runtime.decode_rows import CarriedRow, bucket_of
from ms_omni.runtime.prompt_piece import PromptPiece, row_slices
from ms_omni.scheduling.sequence import Stage
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Span


@dataclass(frozen=True)
class Prompt:
    """One that is being read. embeds: (tokens, hidden). positions: float32, (tokens,) or (3, tokens). levels: (tokens,
    hidden) for each of the first layers, added to what it puts out."""

    embeds: Tensor
    positions: np.ndarray
    levels: tuple[Tensor, ...] = ()

    def piece(self, span: Span, blocks: Sequence[int], owner: int) -> PromptPiece:
        """Its tokens of `span`. blocks: of the owner's cache, that hold it."""
        where = slice(*span)
        levels = tuple(level[where] for level in self.levels)
        return PromptPiece(self.embeds[where], self.positions[..., where], blocks, span[0], levels, owner)


@dataclass
class DeviceState:
    """number: of nobody else. prompt: None once it is read. embeds, hidden: of the Thinker's prompt and a request that
    speaks, until the Talker's is made: the embeddings, and chunk by chunk the hidden states at the accepted layer.
    seen: which tokens were there before, of text with a penalty of repeated ones. frame: what the last frame has left.
    stream: the state of its wave in Code2Wav."""

    number: int
    prompt: Prompt | None = None
    embeds: Tensor | None = None
    hidden: list[Tensor] = field(default_factory=list)
    seen: CarriedRow | None = None
    frame: CarriedRow | None = None
    stream: Any = None


def pieces_of(states: Sequence[RequestState], stage: Stage, spans: Sequence[Span]) -> list[PromptPiece]:
    """Of the prompts that one decoder is reading."""
    return [
        state.device_state.prompt.piece(span, state.sequence(stage).blocks, state.owner)
        for state, span in zip(states, spans, strict=True)
    ]


def those_read(
    states: Sequence[RequestState], stage: Stage, pieces: Sequence[PromptPiece], hidden: Tensor
) -> tuple[list[RequestState], Tensor]:
    """Those whose prompts end with `pieces`: they are read, and not kept any more. hidden: (tokens of all pieces, n).
    Also returns the rows of their last tokens, with any others up to the rows of a decode call, (rows, n)."""
    read, last = list[RequestState](), list[int]()
    for state, piece, rows in zip(states, pieces, row_slices(pieces), strict=True):
        if piece.end == state.sequence(stage).num_prompt:
            read.append(state)
            last.append(rows.stop - 1)
            state.device_state.prompt = None
    if not read:
        return read, hidden
    last += last[:1] * (bucket_of(len(read)) - len(read))
    return read, ops.gather(hidden, Tensor(np.array(last, np.int32)), 0)


def decode_waves(code2wav: Any, states: Sequence[RequestState], counts: Sequence[int]) -> None:
    """Reports the next piece of each wave, of so many frames, as soon as it is made. code2wav: a corrected Code2Wav,
    whose state of each wave is `state.device_state.stream`."""
    for state in states:
        if state.device_state.stream is None:
            state.device_state.stream = code2wav.new_stream()
    codes = [state.next_codes(count) for state, count in zip(states, counts, strict=True)]
    for number, wave in code2wav.decode([state.device_state.stream for state in states], codes):
        states[number].add_wave(wave, counts[number])
