"""What the executor keeps of a request on the device, from its start to its release."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mindspore import Tensor

from ms_omni.runtime.decode_rows import CarriedRow


@dataclass(frozen=True)
class Prompt:
    """One that is being read. embeds: (tokens, hidden). positions: float32, (tokens,) or (3, tokens). levels: (tokens,
    hidden) for each of the first layers, added to what it puts out."""

    embeds: Tensor
    positions: np.ndarray
    levels: tuple[Tensor, ...] = ()


@dataclass
class Kept:
    """number: of nobody else. prompt: None once it is read. embeds, hidden: of the Thinker's prompt and a request that
    speaks, until the Talker's is made: the embeddings, and chunk by chunk the hidden states at the accepted layer.
    frame: what the last frame has left. voice: of Code2Wav, what makes the wave."""

    number: int
    prompt: Prompt | None = None
    embeds: Tensor | None = None
    hidden: list[Tensor] = field(default_factory=list)
    frame: CarriedRow | None = None
    voice: Any = None
