"""What the executor keeps of a request on the device, from its start to its release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mindspore import Tensor, ops

from ms_omni.runtime.decode_rows import CarriedRow, bucket_of
from ms_omni.runtime.prompt_chunk import PromptChunk, row_slices
from ms_omni.scheduling.sequence import Stage
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Span


@dataclass(frozen=True)
class Prompt:
    """A prompt that is being prefilled. embeds: (tokens, hidden). positions: float32, (tokens,) or (3, tokens). levels:
    deepstack features, (tokens, hidden) for each of the first layers, added to its output."""

    embeds: Tensor
    positions: np.ndarray
    levels: tuple[Tensor, ...] = ()

    def chunk(self, span: Span, blocks: Sequence[int], owner: int) -> PromptChunk:
        """The tokens of `span`. blocks: the prompt's, in the owner's cache."""
        where = slice(*span)
        levels = tuple(level[where] for level in self.levels)
        return PromptChunk(self.embeds[where], self.positions[..., where], blocks, span[0], levels, owner)


@dataclass
class DeviceState:
    """number: unique in this executor. prompt: None once it is prefilled. embeds, hidden: if the request speaks, the
    embeddings of the Thinker's prompt and, chunk by chunk, its hidden states at the accepted layer, until the Talker's
    prompt is made. seen: the tokens so far, if repeated ones are penalized. frame: what the last frame left for the
    next. stream: the state of its wave in Code2Wav."""

    number: int
    prompt: Prompt | None = None
    embeds: Tensor | None = None
    hidden: list[Tensor] = field(default_factory=list)
    seen: CarriedRow | None = None
    frame: CarriedRow | None = None
    stream: Any = None


def chunks_of(states: Sequence[RequestState], stage: Stage, spans: Sequence[Span]) -> list[PromptChunk]:
    """The chunks of `spans`, one for each state's prompt of that stage."""
    return [
        state.device_state.prompt.chunk(span, state.sequence(stage).blocks, state.owner)
        for state, span in zip(states, spans, strict=True)
    ]


def finished_prompts(
    states: Sequence[RequestState], stage: Stage, chunks: Sequence[PromptChunk], hidden: Tensor
) -> tuple[list[RequestState], Tensor]:
    """The states whose prompts end with these chunks; their prompts are dropped. hidden: (tokens of all chunks, n).
    Also returns the hidden states of their last tokens, padded to a bucket, (rows, n)."""
    read, last = list[RequestState](), list[int]()
    for state, chunk, rows in zip(states, chunks, row_slices(chunks), strict=True):
        if chunk.end == state.sequence(stage).num_prompt:
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
