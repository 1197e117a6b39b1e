"""A conversation about sound that is in memory: a window of a recording."""

from __future__ import annotations

from typing import Any

import numpy as np


def speech_conversation(samples: np.ndarray, prompt: str, system: str | None = None) -> list[dict[str, Any]]:
    """As the card's evaluation asks: the text behind the sound, and no system prompt unless there is one.

    samples: float32 (num_samples,) at 16 kHz."""
    parts = [{"type": "audio", "audio": samples}, {"type": "text", "text": prompt}]
    messages = [{"role": "user", "content": parts}]
    return [{"role": "system", "content": system}, *messages] if system else messages
