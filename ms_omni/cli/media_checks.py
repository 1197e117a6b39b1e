"""Checks of media files without decoding them, made before minutes are spent on loading weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.inputs.access import MediaAccess, check_counts
from ms_omni.inputs.schema import media_parts
from ms_omni.recordings.recording import LONGEST_WINDOW_S, Recording
from ms_omni.recordings.transcribe import TASKS
from ms_omni.tasks.task import Task

_REMOTE = ("http://", "https://")


def check_local_media(conversation: list[dict[str, Any]], use_audio_in_video: bool, access: MediaAccess) -> None:
    """Raises OmniError, naming the medium, for a local file that `access` refuses, that is missing, empty or cut short,
    that is no picture, and for a video without the sound that is asked for. Other faults, and remote media, are left to
    the readers."""
    check_counts(conversation, access)
    for kind, name in local_media(conversation):
        _check(kind, name, use_audio_in_video, access)


def local_media(conversation: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Kind and name of every medium that is a local file. A video may be a list of pictures."""
    for kind, medium, _ in media_parts(conversation):
        for name in medium if isinstance(medium, list) else [medium]:
            if isinstance(name, str) and not name.startswith(_REMOTE):
                yield "image" if isinstance(medium, list) else kind, name


def _check(kind: str, name: str, use_audio_in_video: bool, access: MediaAccess) -> None:
    from ms_omni.inputs.source import open_source
    from ms_omni.inputs.truncation import check_whole

    if kind == "image":
        from ms_omni.inputs.image import read_image

        read_image(name, access)
        return
    source = open_source(name, kind, access)
    check_whole(source)
    if kind == "video":
        from ms_omni.inputs.av_file import opened

        with opened(source) as container:
            if use_audio_in_video and not container.streams.audio:
                raise source.fail(
                    "has no audio track, which --use-audio-in-video needs; --no-use-audio-in-video leaves the sound out"
                )


def goes_by_windows(task: Task | None, conversation: list[dict[str, Any]], speaks: bool, access: MediaAccess) -> bool:
    """Whether the question is about a recording that is, or may be, longer than one window. Raises OmniError for a
    recording that cannot be read, and for one that is too long to be answered in speech."""
    if task is None or task.name not in TASKS:
        return False
    audio = audio_of(conversation)
    if audio.startswith(_REMOTE):
        return not speaks
    recording = Recording(audio, access)
    if recording.is_long and speaks:
        length = "more" if recording.seconds is None else f"{recording.seconds:.1f} s"
        raise OmniError(
            f"--audio-out: what is said in at most {LONGEST_WINDOW_S:g} s is translated into speech, and --audio "
            f"{audio} has {length}; leave out --audio-out for the text, or cut the recording"
        )
    return recording.is_long


def audio_of(conversation: list[dict[str, Any]]) -> Any:
    """The audio of a task that takes nothing else."""
    return next(media_parts(conversation))[1]
