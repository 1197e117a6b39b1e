"""Checks what `understand` is asked to do, as far as that is possible before MindSpore is imported."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms_omni.checkpoint import built_in
from ms_omni.cli.engine_settings import check_pixels, engine_config, media_access, sampling_params
from ms_omni.cli.flags import TURN_KEYS
from ms_omni.cli.media_checks import check_local_media, goes_by_windows
from ms_omni.cli.task_flags import TaskFlags
from ms_omni.cli.voices import Voices
from ms_omni.config import EngineConfig
from ms_omni.errors import OmniError
from ms_omni.files import check_writable, parse_json
from ms_omni.inputs.conversation import build_conversation, load_conversation, validate_conversation
from ms_omni.options import Options
from ms_omni.recordings.transcribe import TASKS as BY_WINDOWS
from ms_omni.tasks.languages import check_spoken
from ms_omni.tasks.request import check_functions, task_conversation, task_options
from ms_omni.tasks.task import Task
from ms_omni.tasks.variant import check_captioner, check_task, variant_of

_TRANSCRIPT_SUFFIXES = (".txt", ".json", ".srt", ".vtt")


@dataclass(frozen=True)
class Request:
    """One checked run of `understand`. task: None without --task. render: where the picture with boxes goes.
    by_windows: about a recording that is longer than one window, or whose text goes to the file `transcript`."""

    engine: EngineConfig
    conversation: list[dict[str, Any]]
    options: Options
    audio_out: Path | None
    stream: bool
    json: bool
    task: Task | None = None
    render: Path | None = None
    by_windows: bool = False
    transcript: Path | None = None


def check_request(settings: dict[str, Any]) -> Request:
    """settings: flag names with underscores; unset ones are absent.

    Raises OmniError for every mistake that shows without reading weights or decoding media."""
    settings = {"model": built_in.NAME, "parallel": "auto", **settings}
    if settings.get("stream") and settings.get("json"):
        raise OmniError("--stream and --json exclude each other: --json prints one document at the end")
    audio_out = _writable("--audio-out", settings["audio_out"], ".wav") if "audio_out" in settings else None
    check_pixels(settings)
    flags, access = TaskFlags.of(settings), media_access(settings)
    given = _given_options(settings, flags)
    render = _check_render(settings["render"], flags.task) if "render" in settings else None
    speaks, transcript = audio_out is not None, None
    if "transcript" in settings:
        transcript = _check_transcript(settings["transcript"], flags.task, speaks)
    conversation = _read_conversation(settings, flags)
    if flags.task is not None and flags.task.takes_target_language and speaks:
        check_spoken(flags.target_language or "English", f"--audio-out {audio_out}: --target-language")
    recommended: Options = flags.task.options if flags.task else {}
    listens = given.get("use_audio_in_video", recommended.get("use_audio_in_video", False))
    check_local_media(conversation, listens, access)
    is_long = goes_by_windows(flags.task, conversation, speaks, access)
    engine = engine_config(settings, with_talker=speaks)
    _check_voice(Path(engine.model), settings)
    options = _options(settings["model"], Path(engine.model), flags.task, conversation, given)
    return Request(
        engine=engine,
        conversation=conversation,
        options={**options, "return_audio": speaks},
        audio_out=audio_out,
        stream=settings.get("stream", False),
        json=settings.get("json", False),
        task=flags.task,
        render=render,
        by_windows=is_long or transcript is not None,
        transcript=transcript,
    )


def _given_options(settings: dict[str, Any], flags: TaskFlags) -> Options:
    """What the flags say. Raises OmniError for functions that the task does not take, or lacks."""
    given: Any = {key: settings[key] for key in ("use_audio_in_video", "fps", "speaker") if key in settings}
    tools = flags.tools if flags.task is None else check_functions(flags.task, flags.tools)
    return {**given, "sampling": sampling_params(settings), **({"tools": tools} if tools else {})}


def _options(
    model: str, checkpoint: Path, task: Task | None, conversation: list[dict[str, Any]], given: Options
) -> Options:
    """The given options, and below them what the task and the kind of checkpoint recommend. Raises OmniError for a
    request that the checkpoint certainly cannot answer."""
    variant = variant_of(checkpoint)
    if task is not None:
        check_task(task, variant, f"--model {model}")
        given = task_options(task, given, variant)
    check_captioner(conversation, variant, f"--model {model}")
    unset: Options = {"speaker": None, "use_audio_in_video": False, "fps": None}
    return {**unset, **given}


def _writable(flag: str, name: str, *suffixes: str) -> Path:
    """The path of a file that can be written. Raises OmniError naming the flag otherwise."""
    path = Path(name)
    if path.suffix.lower() not in suffixes:
        raise OmniError(f"{flag} {name}: expected a name that ends with {', '.join(suffixes)}")
    check_writable(path, f"{flag} {name}")
    return path


def _check_transcript(name: str, task: Task | None, speaks: bool) -> Path:
    """The path of --transcript, known to be writable. Raises OmniError naming the flag otherwise."""
    if task is None or task.name not in BY_WINDOWS:
        raise OmniError(f"--transcript {name}: goes with --task {' or '.join(BY_WINDOWS)}")
    if speaks:
        raise OmniError(f"--transcript {name}: excludes --audio-out, which speaks what is asked as one question")
    return _writable("--transcript", name, *_TRANSCRIPT_SUFFIXES)


def _check_render(name: str, task: Task | None) -> Path:
    """The path of --render, known to be writable. Raises OmniError naming the flag otherwise."""
    if task is None or task.answer != "boxes":
        raise OmniError(f"--render {name}: draws the boxes of --task object-grounding, which is not asked for")
    return _writable("--render", name, ".png")


def _read_conversation(settings: dict[str, Any], flags: TaskFlags) -> list[dict[str, Any]]:
    turn = [key for key in TURN_KEYS if key in settings]
    path = settings.get("conversation")
    if flags.task is not None:
        if path is not None:
            raise OmniError(
                f"--conversation and --task exclude each other: give --task {flags.task.name} its medium by --audio, "
                "--image or --video"
            )
        return task_conversation(
            flags.task, settings, settings.get("text"), flags.language, flags.target_language, settings.get("system")
        )
    if path is not None and turn:
        raise OmniError(f"--conversation and --{turn[0]} exclude each other: put the turn into the conversation file")
    if path == "-":
        where = "--conversation -"
        return validate_conversation(parse_json(sys.stdin.read(), where), where)
    if path is not None:
        return load_conversation(path)
    return build_conversation(
        settings.get("system"),
        settings.get("text"),
        settings.get("image", ()),
        settings.get("audio", ()),
        settings.get("video", ()),
    )


def _check_voice(checkpoint: Path, settings: dict[str, Any]) -> None:
    """A speaker that exists, and a Talker where speech is asked for."""
    voices = Voices.of(checkpoint)
    if "audio_out" in settings:
        voices.check_speech(f"--audio-out {settings['audio_out']}")
    if "speaker" in settings:
        voices.check_speaker(settings["speaker"], "--speaker")
