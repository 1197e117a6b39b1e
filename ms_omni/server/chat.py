"""Answers in the form of OpenAI's API: one object, or the chunks of a stream. Always one choice."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from uuid import uuid4

import numpy as np

from ms_omni import __version__
from ms_omni.answer_parts import AnswerParts, Part
from ms_omni.outputs import AudioChunk, OmniOutput, TextDelta
from ms_omni.server.engine_input import EngineInput
from ms_omni.server.schema import AudioFormat

# libsndfile's names
_FILES = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", None), "opus": ("OGG", "OPUS")}
# How long a later request can refer to an answer's speech by its id
SPEECH_LIFE_S = 3600


def usage_of(output: OmniOutput) -> dict[str, Any]:
    """Token counts of the prompt and its media, and of the answer's text and speech; speech counts codec frames of
    80 ms."""
    usage, frames = output.usage, output.audio.num_frames if output.audio else 0
    media = usage.image_tokens + usage.audio_tokens + usage.video_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens + frames,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens + frames,
        "prompt_tokens_details": {
            "text_tokens": usage.prompt_tokens - media,
            "image_tokens": usage.image_tokens,
            "audio_tokens": usage.audio_tokens,
            "video_tokens": usage.video_tokens,
            "cached_tokens": 0,
        },
        "completion_tokens_details": {"text_tokens": usage.completion_tokens, "audio_tokens": frames},
    }


@dataclass
class ChatAnswer:
    """Formats one answer. model: the name for the client. reasons: the prompt ends with the mark that opens the model's
    reasoning."""

    inputs: EngineInput
    model: str
    reasons: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.audio_id = f"audio_{uuid4().hex}"
        self.expires_at = self.created + SPEECH_LIFE_S
        self._parts = AnswerParts(self.reasons, self.inputs.has_tools)
        self._num_calls = 0
        self._speaks = bool(self.inputs.options.get("return_audio"))

    def whole(self, output: OmniOutput) -> dict[str, Any]:
        """The answer as one object."""
        parts = self._parts.put(output.text, is_last=True)
        calls = [self._call(part) for part in parts if part.kind == "call"]
        content = "".join(part.text for part in parts if part.kind == "content")
        message: dict[str, Any] = {"role": "assistant", "content": content or (None if calls else ""), "refusal": None}
        if reasoning := "".join(part.text for part in parts if part.kind == "reasoning"):
            message["reasoning_content"] = reasoning
        if calls:
            message["tool_calls"] = calls
        if output.audio is not None and not calls:
            wave = encoded(output.audio.samples, output.audio.sample_rate, self.inputs.audio_format)
            message["audio"] = {
                "id": self.audio_id,
                "data": base64.b64encode(wave).decode(),
                "expires_at": self.expires_at,
                "transcript": content,
            }
        choice = {"index": 0, "message": message, "finish_reason": self._reason(output), "logprobs": None}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage_of(output)}

    # Chunks of a stream

    def first(self) -> dict[str, Any]:
        """The chunk that opens a stream."""
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, delta: TextDelta) -> list[dict[str, Any]]:
        """The chunks for new text; none while it is not known what the text is."""
        return self._deltas(self._parts.put(delta.text))

    def speech(self, chunk: AudioChunk) -> list[dict[str, Any]]:
        """The chunk for a piece of the wave; none once a tool call has begun, since its JSON must not be heard."""
        if self._num_calls or self._parts.is_in_call:
            return []
        return [self._chunk({"audio": {"id": self.audio_id, "data": base64.b64encode(pcm16(chunk.samples)).decode()}})]

    def end(self, output: OmniOutput) -> list[dict[str, Any]]:
        """The last chunks: held-back text, the finish reason, and the usage where it is asked for."""
        chunks = self._deltas(self._parts.put("", is_last=True))
        if output.audio is not None and not self._num_calls:
            chunks.append(self._chunk({"audio": {"id": self.audio_id, "expires_at": self.expires_at}}))
        chunks.append(self._chunk({}, self._reason(output)))
        if self.inputs.include_usage:
            chunks.append({**self._head("chat.completion.chunk"), "choices": [], "usage": usage_of(output)})
        return chunks

    def _deltas(self, parts: list[Part]) -> list[dict[str, Any]]:
        return [self._chunk(self._delta(part)) for part in parts]

    def _delta(self, part: Part) -> dict[str, Any]:
        if part.kind == "reasoning":
            return {"reasoning_content": part.text}
        if part.kind == "call":
            return {"tool_calls": [{"index": self._num_calls, **self._call(part)}]}
        delta: dict[str, Any] = {"content": part.text}
        if self._speaks:
            delta["audio"] = {"id": self.audio_id, "transcript": part.text}
        return delta

    def _call(self, part: Part) -> dict[str, Any]:
        self._num_calls += 1
        function = {"name": part.name, "arguments": part.text}
        return {"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": function}

    def _reason(self, output: OmniOutput) -> str:
        return "tool_calls" if self._num_calls and output.finish_reason == "stop" else output.finish_reason

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"ms_omni-{__version__}",
        }


def pcm16(samples: np.ndarray) -> bytes:
    """float32 (num_samples,) in [-1, 1] as little-endian integers of 16 bits."""
    return np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()


def encoded(samples: np.ndarray, sample_rate: int, audio_format: AudioFormat) -> bytes:
    """The wave, mono, as a file of this format; pcm16 is raw samples."""
    if audio_format == "pcm16":
        return pcm16(samples)
    import soundfile

    kind, subtype = _FILES[audio_format]
    if not samples.size:  # some of libsndfile's encoders write no file for an empty wave
        samples = np.zeros(1, np.float32)
    file = BytesIO()
    soundfile.write(file, samples, sample_rate, format=kind, subtype=subtype)
    return file.getvalue()
