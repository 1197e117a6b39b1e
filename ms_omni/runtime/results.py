"""What a runtime is to the engine: what it is asked and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ms_omni.config import SamplingParams

# Ids at the end of the Talker's vocabulary that are no codes (transformers 4.57.1 `generate`)
NUM_TALKER_SPECIALS = 1024


@dataclass(frozen=True)
class ThinkerResult:
    """token_ids: the new ids. embeds, hidden: tensors (1, tokens read, hidden), layer 0 and `accept_hidden_layer`, or
    None when no speech was asked for."""

    token_ids: list[int]
    finish_reason: str
    embeds: Any = None
    hidden: Any = None


@dataclass(frozen=True)
class TalkerResult:
    """codes: int32, (num_code_groups, frames)."""

    codes: np.ndarray
    finish_reason: str


class Runtime(Protocol):
    """One loaded checkpoint and a way to decode it. `model` is mindone's Qwen3-Omni of corrected parts: encoders,
    projections and Code2Wav are always its own."""

    model: Any

    def think(
        self,
        inputs: Mapping[str, Any],
        sampling: SamplingParams,
        stop_ids: list[int],
        *,
        use_audio_in_video: bool,
        keep_hidden: bool,
        on_tokens: Callable[[list[int]], None],
    ) -> ThinkerResult:
        """The answer's ids. inputs: what the processor made, cast. `sampling` has no None but the seed."""

    def talk(
        self, prompt: Any, inputs: Mapping[str, Any], sampling: SamplingParams, on_tokens: Callable[[list[int]], None]
    ) -> TalkerResult:
        """The codec frames. prompt: a TalkerPrompt. `inputs` gives the media grids that positions depend on."""
