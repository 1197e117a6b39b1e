"""What `understand` was asked to do, with everything checked that can be checked before MindSpore is imported."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ms_omni.checkpoint import built_in
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.checkpoint.resolve import resolve_checkpoint
from ms_omni.cli.media_check import check_local_media
from ms_omni.cli.settings import TURN_KEYS, media_access
from ms_omni.cli.voices import Voices
from ms_omni.cli.wave import check_wave_path
from ms_omni.config import SAMPLING_KEYS, EngineConfig, SamplingParams
from ms_omni.errors import OmniError
from ms_omni.inputs.conversation import build_conversation, load_conversation, validate_conversation


@dataclass(frozen=True)
class Request:
    """One checked run of `understand`."""

    engine: EngineConfig
    conversation: list[dict[str, Any]]
    sampling: SamplingParams
    audio_out: Path | None
    speaker: str | None
    use_audio_in_video: bool
    fps: float | None
    stream: bool
    json: bool


def check_request(settings: dict[str, Any]) -> Request:
    """`settings` (flag names with underscores, unset ones absent) as a Request.

    Raises OmniError for every mistake that can be seen without reading weights or media."""
    settings = {"model": built_in.NAME, "parallel": "auto", **settings}
    if settings.get("stream") and settings.get("json"):
        raise OmniError("--stream and --json exclude each other: --json prints one document at the end")
    sampling = sampling_params(settings)
    audio_out = check_wave_path(settings["audio_out"]) if "audio_out" in settings else None
    check_pixels(settings)
    conversation = _read_conversation(settings)
    check_local_media(conversation, settings.get("use_audio_in_video", False), media_access(settings))
    engine = engine_config(settings, with_talker=audio_out is not None)
    _check_voice(Path(engine.model), settings)
    return Request(
        engine=engine,
        conversation=conversation,
        sampling=sampling,
        audio_out=audio_out,
        speaker=settings.get("speaker"),
        use_audio_in_video=settings.get("use_audio_in_video", False),
        fps=settings.get("fps"),
        stream=settings.get("stream", False),
        json=settings.get("json", False),
    )


def sampling_params(settings: dict[str, Any]) -> SamplingParams:
    return SamplingParams(**{key: settings[key] for key in SAMPLING_KEYS if key in settings})


def engine_config(settings: dict[str, Any], with_talker: bool, restricted: bool = False) -> EngineConfig:
    """Of a checkpoint that is there, with every shard. Raises OmniError."""
    given = {f.name: settings[f.name] for f in fields(EngineConfig) if f.name in settings}
    given["model"] = str(resolve_checkpoint(settings["model"]))
    config = EngineConfig(**given, media_access=media_access(settings, restricted), with_talker=with_talker)
    CheckpointReader(config.model)  # reads every shard's header: none is missing or truncated
    return config


def check_pixels(settings: dict[str, Any]) -> None:
    low, high = settings.get("min_pixels"), settings.get("max_pixels")
    if low is not None and high is not None and low > high:
        raise OmniError(f"--min-pixels {low} is above --max-pixels {high}; expected at most that")


def _read_conversation(settings: dict[str, Any]) -> list[dict[str, Any]]:
    turn = [key for key in TURN_KEYS if key in settings]
    path = settings.get("conversation")
    if path is not None and turn:
        raise OmniError(f"--conversation and --{turn[0]} exclude each other: put the turn into the conversation file")
    if path == "-":
        return _read_stdin()
    if path is not None:
        return load_conversation(path)
    return build_conversation(
        settings.get("system"),
        settings.get("text"),
        settings.get("image", ()),
        settings.get("audio", ()),
        settings.get("video", ()),
    )


def _read_stdin() -> list[dict[str, Any]]:
    try:
        data = json.loads(sys.stdin.read())
    except (ValueError, RecursionError) as error:
        raise OmniError(f"--conversation -: stdin is not valid JSON ({error})") from error
    return validate_conversation(data, "--conversation -")


def _check_voice(checkpoint: Path, settings: dict[str, Any]) -> None:
    """A speaker that exists, and a Talker where speech is asked for."""
    voices = Voices.of(checkpoint)
    if "audio_out" in settings:
        voices.check_speech(f"--audio-out {settings['audio_out']}")
    if "speaker" in settings:
        voices.check_speaker(settings["speaker"], "--speaker")
