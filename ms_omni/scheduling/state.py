"""The state of a request while it is answered. Used by the thread of the engine loop only."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np

from ms_omni.outputs import SAMPLE_RATE, AudioChunk, AudioOutput, OmniOutput, Usage
from ms_omni.scheduling.detokenizer import Detokenizer
from ms_omni.scheduling.request import Prepared, Request, RequestHandle, handle_of
from ms_omni.scheduling.sequence import Sequence, Stage, random_numbers
from ms_omni.stages import mark


class RequestState:
    """One request that is prepared, waiting or answered. An executor reads it and reports results with
    `add_tokens`, `add_codec_tokens`, `add_frames` and `add_wave`; `device_state` is for the executor's own use. owner:
    which of `Limits.num_owners` processes has its keys and values, once it is admitted."""

    device_state: Any = None
    owner: int = 0

    def __init__(
        self,
        request: Request,
        prepared: Prepared,
        find_handle: Callable[[], RequestHandle | None],
        decode: Callable[[list[int]], str],
        clock: Callable[[], float],
        *,
        arrival: int = 0,
        submitted: float = 0.0,
        prepare_s: float = 0.0,
    ):
        """find_handle: a weak reference to the request's handle. decode: ids to text. arrival: number of the request,
        in the order of submission. submitted: time of `clock`. prepare_s: seconds of its preparation."""
        self.request, self.prepared, self.arrival = request, prepared, arrival
        self._find_handle, self._clock, self._submitted = find_handle, clock, submitted
        sampling, speech = request.sampling, request.speech
        self.seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        self.thinker = self._sequence("thinker", len(prepared.prompt_ids), request.stop_ids)
        self.talker = self._sequence("talker", prepared.num_talker_prompt, (speech.stop_id,)) if speech else None
        self.frames: list[np.ndarray] = []
        self.num_voiced = 0  # frames whose wave is made
        self._wave: list[np.ndarray] = []
        self._text = Detokenizer(decode, request.stop_texts)
        self._seconds = {"prepare_s": prepare_s}

    @property
    def sequences(self) -> tuple[Sequence, ...]:
        """The Thinker's and, for speech, the Talker's."""
        return (self.thinker,) if self.talker is None else (self.thinker, self.talker)

    def sequence(self, stage: Stage) -> Sequence:
        """The sequence of this stage. Raises StopIteration where there is no Talker."""
        return next(sequence for sequence in self.sequences if sequence.stage == stage)

    @property
    def is_cancelled(self) -> bool:
        """Whether the request has ended or was cancelled. An executor whose steps take long checks this, and may raise
        RequestCancelled."""
        return self._handle.done

    @property
    def to_prefill(self) -> Sequence | None:
        """The sequence to prefill next, if any. The Talker's prompt contains the first token of the text."""
        if not self.thinker.is_prefilled:
            return self.thinker
        if self.talker and not self.talker.is_prefilled and self.thinker.num_read and not self.talker.finish_reason:
            return self.talker
        return None

    @property
    def can_make_frame(self) -> bool:
        """Whether the Talker can make its next frame: it has not ended, and the frame's text token is known."""
        if self.talker is None or not self.talker.is_decoding:
            return False
        return self.thinker.finish_reason is not None or len(self.frames) + 1 < self.thinker.num_read

    def text_of_frame(self, end_id: int, pad_id: int) -> int:
        """The text token that is added to the next frame: the second token and so on, one a frame, then `end_id` once,
        then `pad_id` (transformers 4.57.1 `Qwen3OmniMoeForConditionalGeneration.generate`)."""
        place = len(self.frames) + 1
        if place < self.thinker.num_read:
            return self.thinker.token_ids[place]
        return end_id if place == self.thinker.num_read else pad_id

    @property
    def num_due(self) -> int:
        """Frames of which Code2Wav should make the next piece of the wave now; 0 if that can wait. A piece is due when
        it has as many frames as are still unheard, so that playback lasts until the next piece. Pieces thus grow from
        `first_chunk_frames` to `chunk_frames` as fast as frames are made."""
        if self.request.speech is None or self.talker is None:
            return 0
        speech, waiting = self.request.speech, len(self.frames) - self.num_voiced
        wanted = most = speech.first_chunk_frames
        if self.num_voiced:
            most = speech.chunk_frames
            wanted = min(max(wanted, math.ceil(self._num_unheard())), most)
        return min(waiting, most) if waiting >= wanted or self.talker.finish_reason else 0

    def _num_unheard(self) -> float:
        """Frames whose wave is made but not yet played by a listener who began with the first piece."""
        length_s = sum(map(len, self._wave)) / SAMPLE_RATE
        played_s = self._elapsed() - self._seconds["first_audio_s"]
        return self.num_voiced * max(0.0, 1 - played_s / length_s) if length_s else 0.0

    def next_codes(self, count: int) -> np.ndarray:
        """Codes of the next frames without a wave, int32 (num_code_groups, count)."""
        return self._codes(self.num_voiced, self.num_voiced + count)

    @property
    def is_finished(self) -> bool:
        """Whether text and speech are complete."""
        return all(sequence.finish_reason for sequence in self.sequences) and self.num_voiced == len(self.frames)

    def add_tokens(self, ids: list[int]) -> None:
        """Adds Thinker tokens. Tokens after the end are dropped."""
        # With stop texts, the answer may end at each token
        for part in [[token] for token in ids] if self.request.stop_texts else [ids]:
            self._add_text(self.thinker.extend(part))

    def _add_text(self, taken: list[int]) -> None:
        if not taken:
            return
        self._note_time("first_token_s")
        mark("thinker_tokens", len(taken))
        delta = self._text.put(taken, self.thinker.finish_reason is not None)
        if self._text.is_stopped:
            self.thinker.finish_reason = "stop"
        if self.thinker.finish_reason and self.talker and not self.thinker.num_read:
            self.talker.finish_reason = "stop"  # nothing to say
        if delta:
            self._handle.put(delta)
        self._handle.count("thinker", len(self.thinker.token_ids), self.thinker.max_new_tokens)

    def add_codec_tokens(self, ids: list[int]) -> None:
        """Adds Talker tokens, the first codes of frames: N tokens make N - 1 frames."""
        talker = self.sequence("talker")
        if talker.extend(ids):
            self._handle.count("talker", len(talker.token_ids), talker.max_new_tokens)

    def add_frames(self, codes: np.ndarray) -> None:
        """Adds codec frames, int (num_code_groups, frames)."""
        mark("talker_frames", codes.shape[1])
        self.frames += list(codes.T.astype(np.int32))

    def add_wave(self, samples: np.ndarray, num_frames: int) -> None:
        """Adds the wave of the next `num_frames` frames, float32 (samples,)."""
        self.num_voiced += num_frames
        self._note_time("first_audio_s")
        mark("audio_samples", samples.size)
        self._wave.append(samples)
        self._handle.put(AudioChunk(samples))
        self._handle.count("code2wav", self.num_voiced, len(self.frames))

    def note_admitted(self) -> None:
        """Notes how long the request was queued."""
        self._seconds["queue_s"] = self._elapsed() - self._seconds["prepare_s"]

    @property
    def waited(self) -> dict[str, float]:
        """Seconds before the request was admitted, by their names in the answer's stats."""
        return {name: seconds for name, seconds in self._seconds.items() if name in ("prepare_s", "queue_s")}

    def add_time(self, stage: str, seconds: float) -> None:
        """Adds the time of a step of `stage`, which its requests share."""
        self._seconds[f"{stage}_s"] = self._seconds.get(f"{stage}_s", 0.0) + seconds

    def finish(self) -> None:
        """Gives the answer to the handle."""
        audio = None
        if self.talker is not None:
            samples = np.concatenate(self._wave) if self._wave else np.zeros(0, np.float32)
            audio = AudioOutput(samples, self._codes(0, len(self.frames)), str(self.talker.finish_reason))
        output = OmniOutput(
            text=self._text.text,
            token_ids=tuple(self.thinker.token_ids),
            finish_reason=str(self.thinker.finish_reason),
            usage=Usage(completion_tokens=len(self.thinker.token_ids), **self.prepared.usage),
            audio=audio,
            stats={**self.request.stats, **self._seconds, "total_s": self._elapsed()},
        )
        self._handle.finish(output)

    def fail(self, error: BaseException) -> None:
        """Ends the request with an error."""
        self._handle.fail(error)

    def _sequence(self, stage: Stage, num_prompt: int, stop_ids: tuple[int, ...]) -> Sequence:
        sampling = self.request.sampling
        maximum = getattr(sampling, f"{stage}_max_new_tokens")
        stop_ids = () if sampling.ignore_eos else tuple(stop_ids)
        return Sequence(stage, num_prompt, maximum, stop_ids, random_numbers(self.seed, stage))

    def _codes(self, start: int, stop: int) -> np.ndarray:
        if start == stop:
            num_groups = self.request.speech.num_code_groups if self.request.speech else 0
            return np.zeros((num_groups, 0), np.int32)
        return np.stack(self.frames[start:stop], axis=1)

    @property
    def _handle(self) -> RequestHandle:
        return handle_of(self._find_handle)

    def _elapsed(self) -> float:
        return self._clock() - self._submitted

    def _note_time(self, name: str) -> None:
        self._seconds.setdefault(name, self._elapsed())
