"""Codec frames in, pieces of the wave out, as soon as there are enough of them."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor


class StreamingCode2Wav:
    """A piece of the wave for every `chunk_frames` frames, the first one for `first_chunk_frames`: fewer frames are
    heard sooner, more cost less. The pieces concatenate to the wave of all frames at once."""

    def __init__(self, code2wav: Any, first_chunk_frames: int, chunk_frames: int):
        """code2wav: a corrected Code2Wav."""
        self._decoder = code2wav.new_decoder()
        self._wanted, self._chunk_frames = first_chunk_frames, chunk_frames
        self._waiting: list[np.ndarray] = []

    @property
    def num_waiting(self) -> int:
        """Frames that no piece was made of yet."""
        return len(self._waiting)

    def push(self, codes: np.ndarray) -> list[np.ndarray]:
        """codes: int32 (num_code_groups, frames). The pieces that these complete, float32 (samples,) each."""
        self._waiting += list(codes.T)
        pieces = []
        while len(self._waiting) >= self._wanted:
            pieces.append(self._decode(self._waiting[: self._wanted]))
            del self._waiting[: self._wanted]
            self._wanted = self._chunk_frames
        return pieces

    def finish(self) -> list[np.ndarray]:
        """The piece of the frames that are left, if any."""
        rest, self._waiting = self._waiting, []
        return [self._decode(rest)] if rest else []

    def _decode(self, frames: list[np.ndarray]) -> np.ndarray:
        codes = Tensor(np.stack(frames, axis=1)[None].astype(np.int32))
        return self._decoder.decode(codes).astype(ms.float32).asnumpy().reshape(-1)
