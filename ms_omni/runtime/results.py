"""What a runtime is to the engine: what it is asked and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ms_omni.config import SamplingParams


@dataclass(frozen=True)
class Question:
    """What is to be answered. inputs: what the processor made, cast to tensors; prompt_ids: int, (tokens,), the same
    prompt on the host. sampling: no None but the seed. stop_ids: what ends the text. speaker_id: None for no speech."""

    inputs: Mapping[str, Any]
    prompt_ids: np.ndarray
    sampling: SamplingParams
    stop_ids: list[int]
    use_audio_in_video: bool = False
    speaker_id: int | None = None


@dataclass(frozen=True)
class Answer:
    """token_ids: the new ids. codes: int32, (num_code_groups, frames), None if no speech was asked for. seconds: of
    each stage, by its name in OmniOutput.stats."""

    token_ids: list[int]
    finish_reason: str
    codes: np.ndarray | None = None
    talker_finish_reason: str = "stop"
    seconds: dict[str, float] = field(default_factory=dict)


class Listener(Protocol):
    """Who hears of an answer while it is made."""

    def tokens(self, ids: list[int]) -> None:
        """New Thinker ids."""

    def talker_token(self) -> None:
        """The Talker has made one more token; its frame may still be unknown."""

    def frames(self, codes: np.ndarray) -> None:
        """New codec frames, int32 (num_code_groups, frames)."""


class Runtime(Protocol):
    """One loaded checkpoint and a way to decode it. `model` is mindone's Qwen3-Omni of corrected parts: encoders,
    projections and Code2Wav are always its own."""

    model: Any

    def answer(self, question: Question, listener: Listener) -> Answer:
        """Decodes text and speech, telling the listener as they come; what it raises ends the work."""

    def take_part(self) -> None:
        """In the answers of the group's other ranks, where each answers its own conversations, until all are done."""

    def missing_cache_bytes(self, stage: str, num_prompt: int, max_new_tokens: int) -> int:
        """What this process has still to allocate for keys and values of `stage`, thinker or talker, if an answer gets
        as long as it may."""


class Stopwatch:
    """Seconds by name, added up."""

    def __init__(self, clock: Callable[[], float]):
        self.seconds: dict[str, float] = {}
        self._clock = clock

    def time(self, name: str, work: Callable[[], Any]) -> Any:
        """Runs `work` and returns what it returns."""
        start = self._clock()
        try:
            return work()
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - start
