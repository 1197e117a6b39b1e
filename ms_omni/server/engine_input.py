"""Turns a chat request into the engine's input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ms_omni.config import SamplingParams
from ms_omni.inputs.conversation import validate_conversation
from ms_omni.inputs.schema import part_type
from ms_omni.inputs.tools import check_template_options, check_tools
from ms_omni.options import Options
from ms_omni.server.errors import ApiError
from ms_omni.server.schema import AudioFormat, ChatRequest

# Roles of the API -> roles of the chat template
_ROLES = {"developer": "system"}
# Keys of answers that clients send back, and that the model does not see
_NOT_READ = ("name", "refusal", "annotations", "audio", "reasoning", "function_call")


@dataclass(frozen=True)
class EngineInput:
    """conversation, options: arguments of `OmniEngine.submit`. audio_format: of the answer's wave; streams have PCM."""

    conversation: list[dict[str, Any]]
    options: Options
    audio_format: AudioFormat
    has_tools: bool
    stream: bool
    include_usage: bool


def engine_input(request: ChatRequest, recall: Callable[[str], str | None] = lambda name: None) -> EngineInput:
    """recall: returns the transcript of an earlier answer's speech by its id. Raises ApiError, or OmniError for an
    invalid conversation. Media are not opened here."""
    media = request.mm_processor_kwargs
    tools = check_tools(request.tools) if request.tools and request.tool_choice != "none" else None
    messages = [_message(message, index, recall) for index, message in enumerate(request.messages)]
    conversation = validate_conversation(messages, "messages")
    if media:
        conversation = [_sized(message, media.min_pixels, media.max_pixels) for message in conversation]
    audio = request.audio
    if request.audio and request.audio.voice and request.speaker:
        raise ApiError(400, "'speaker' and 'audio.voice' say the same; give one", param="speaker")
    if request.stream and audio and audio.format not in ("pcm16", "wav"):
        raise ApiError(
            400,
            f"audio.format: a stream gives bare samples; expected pcm16, got {audio.format}",
            param="audio.format",
            code="invalid_value",
        )
    options: Options = {
        "return_audio": request.speaks,
        "speaker": request.speaker or (audio.voice if audio else None),
        "use_audio_in_video": bool(media and media.use_audio_in_video),
        "fps": media.fps if media else None,
        "sampling": _sampling(request),
        "stop": request.stop,
        "tools": tools,
        "chat_template_kwargs": check_template_options(request.chat_template_kwargs or {}),
    }
    return EngineInput(
        conversation,
        options,
        audio.format if audio else "wav",
        has_tools=tools is not None,
        stream=bool(request.stream),
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
    )


def _sampling(request: ChatRequest) -> SamplingParams:
    most = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    talker = request.talker.model_dump() if request.talker else {}
    return SamplingParams(
        thinker_max_new_tokens=most,
        thinker_temperature=request.temperature,
        thinker_top_p=request.top_p,
        thinker_top_k=0 if request.top_k == -1 else request.top_k,  # in vLLM -1 means all tokens
        thinker_repetition_penalty=request.repetition_penalty,
        seed=request.seed,
        ignore_eos=request.ignore_eos,
        **{f"talker_{name}": value for name, value in talker.items()},
    )


def _message(message: dict[str, Any], index: int, recall: Callable[[str], str | None]) -> dict[str, Any]:
    """The message with this package's roles and keys, without nulls. Speech is replaced by its transcript."""
    where = f"messages: message {index}"
    role = message.get("role")
    role = _ROLES.get(role, role) if isinstance(role, str) else role
    known = {key: value for key, value in message.items() if key not in _NOT_READ and value is not None}
    if "content" not in known and isinstance(message.get("audio"), dict):
        name = message["audio"].get("id")
        said = recall(name) if isinstance(name, str) else None
        if said is None:
            raise ApiError(400, f"{where}: no speech with this id, or not any more; send its text", param="messages")
        known["content"] = said
    return {**known, "role": role} if "role" in message else known


def _sized(message: dict[str, Any], min_pixels: int | None, max_pixels: int | None) -> dict[str, Any]:
    """Adds the size limits to images and videos that have none."""
    limits = {key: value for key, value in (("min_pixels", min_pixels), ("max_pixels", max_pixels)) if value}
    if isinstance(message["content"], str) or not limits:
        return message
    parts = [{**limits, **part} if part_type(part) in ("image", "video") else part for part in message["content"]]
    return {**message, "content": parts}
