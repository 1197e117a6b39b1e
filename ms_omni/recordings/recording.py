"""A recording of any length: its duration, and its sound piece by piece."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ms_omni.inputs.access import MediaAccess
from ms_omni.inputs.audio import SAMPLE_RATE, read_audio
from ms_omni.inputs.sound_pieces import read_pieces, stated_seconds
from ms_omni.inputs.source import open_source
from ms_omni.inputs.windows import WindowRules

LONGEST_WINDOW_S = WindowRules().longest_s
_PIECE = 10 * SAMPLE_RATE


class Recording:
    """seconds: its duration; None if the file does not state it. read_s: seconds read so far."""

    def __init__(self, audio: str | np.ndarray, access: MediaAccess | None = None):
        """audio: a path, URL or data: URL, or float32 (num_samples,) at 16 kHz. access: which media may be read, of any
        length; None: any. Raises OmniError naming the medium."""
        self.read_s = 0.0
        if isinstance(audio, str):
            unlimited = replace(access or MediaAccess(), max_seconds=math.inf, max_samples=1 << 40)
            self._source = open_source(audio, "audio", unlimited)
            self.seconds = stated_seconds(self._source)
            self._samples = None
        else:
            self._samples = read_audio(audio)
            self.seconds = len(self._samples) / SAMPLE_RATE

    @property
    def is_long(self) -> bool:
        """Whether it is or may be longer than one window."""
        return self.seconds is None or self.seconds > LONGEST_WINDOW_S

    def pieces(self) -> Iterator[np.ndarray]:
        """float32 (num_samples,) at 16 kHz. Raises OmniError naming the medium."""
        self.read_s = 0.0
        for piece in self._pieces():
            self.read_s += piece.size / SAMPLE_RATE
            yield piece

    def _pieces(self) -> Iterator[np.ndarray]:
        if self._samples is None:
            return read_pieces(self._source)
        samples = self._samples
        return (samples[start : start + _PIECE] for start in range(0, len(samples), _PIECE))
