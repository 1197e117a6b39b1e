"""What happens while an answer is made: text and wave go out in pieces, progress and seconds are kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ms_omni.config import SamplingParams
from ms_omni.outputs import AudioChunk, StreamChunk, TextDelta
from ms_omni.stages import mark, stage

Progress = Callable[[str, int, int], None]
# Takes the next piece of a stream; None only asks whether anybody still listens, and raises if not.
Emit = Callable[[StreamChunk | None], None]


class AnswerReporter:
    """The listener of a runtime (see runtime.results.Listener) for one answer."""

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        emit: Emit,
        progress: Progress | None,
        sampling: SamplingParams,
        start: float,
    ):
        """decode: ids to text. sampling: resolved. start: time.perf_counter() when the answer was asked for."""
        self.seconds: dict[str, float] = {}
        self._emit, self._progress, self._start = emit, progress, start
        self._text = _TextStream(decode, emit)
        self._maximum = {"thinker": sampling.thinker_max_new_tokens, "talker": sampling.talker_max_new_tokens}
        self._done = {"thinker": 0, "talker": 0, "code2wav": 0}
        self._voice: Any = None
        self._pieces: list[np.ndarray] = []
        self._num_frames = 0

    def voice(self, code2wav: Any, first_chunk_frames: int, chunk_frames: int) -> None:
        """Speech is asked for: frames will be decoded, in pieces of so many."""
        from ms_omni.runtime.streaming_code2wav import StreamingCode2Wav

        self._voice = StreamingCode2Wav(code2wav, first_chunk_frames, chunk_frames)

    def tokens(self, ids: list[int]) -> None:
        """New Thinker ids."""
        self._mark("first_token_s")
        mark("thinker_tokens", len(ids))
        self._text.put(ids)
        self._count("thinker", len(ids), self._maximum["thinker"])

    def talker_token(self) -> None:
        """One more Talker token."""
        self._emit(None)
        self._count("talker", 1, self._maximum["talker"])

    def frames(self, codes: np.ndarray) -> None:
        """New codec frames, int32 (num_code_groups, frames)."""
        self._num_frames += codes.shape[1]
        mark("talker_frames", codes.shape[1])
        self._decode(lambda: self._voice.push(codes))

    def finish(self) -> None:
        """The answer is complete: what was held back goes out."""
        self._text.end()
        if self._voice is not None:
            self._decode(self._voice.finish)

    def samples(self) -> np.ndarray:
        """The wave so far, float32 (num_samples,)."""
        return np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.float32)

    def _decode(self, work: Callable[[], list[np.ndarray]]) -> None:
        start = time.perf_counter()
        with stage("code2wav"):
            pieces = work()
        self.seconds["code2wav_s"] = self.seconds.get("code2wav_s", 0.0) + time.perf_counter() - start
        for piece in pieces:
            self._mark("first_audio_s")
            mark("audio_samples", piece.size)
            self._pieces.append(piece)
            self._emit(AudioChunk(piece))
        if pieces:
            decoded = self._num_frames - self._voice.num_waiting
            self._count("code2wav", decoded - self._done["code2wav"], self._num_frames)

    def _count(self, stage: str, more: int, total: int | None) -> None:
        self._done[stage] += more
        if self._progress:
            self._progress(stage, self._done[stage], total or self._done[stage])

    def _mark(self, name: str) -> None:
        self.seconds.setdefault(name, time.perf_counter() - self._start)


class _TextStream:
    """Turns ids into text deltas, holding back characters whose bytes are not complete."""

    def __init__(self, decode: Callable[[list[int]], str], emit: Emit):
        self._decode, self._emit = decode, emit
        self._ids: list[int] = []
        self._pending: list[int] = []
        self._shown = ""

    def put(self, ids: list[int]) -> None:
        self._ids += ids
        self._pending += ids
        text = self._decode(self._ids)
        if not text.endswith("\ufffd"):
            self._flush(text)

    def end(self) -> None:
        self._flush(self._decode(self._ids))

    def _flush(self, text: str) -> None:
        if self._pending:
            self._emit(TextDelta(text[len(self._shown) :], tuple(self._pending)))
            self._shown, self._pending = text, []
