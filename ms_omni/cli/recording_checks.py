"""Whether a task's question is about a recording that is asked window by window, and where its text goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.files import check_writable
from ms_omni.inputs.access import MediaAccess
from ms_omni.inputs.schema import media_parts
from ms_omni.recordings.recording import LONGEST_WINDOW_S, Recording
from ms_omni.recordings.transcribe import TASKS
from ms_omni.tasks.task import Task

SUFFIXES = (".txt", ".json", ".srt", ".vtt")


def check_transcript(name: str, task: Task | None, speaks: bool) -> Path:
    """The path of --transcript, known to be writable. Raises OmniError naming the flag otherwise."""
    path = Path(name)
    if task is None or task.name not in TASKS:
        raise OmniError(f"--transcript {name}: goes with --task {' or '.join(TASKS)}")
    if speaks:
        raise OmniError(f"--transcript {name}: excludes --audio-out, which speaks what is asked as one question")
    if path.suffix.lower() not in SUFFIXES:
        raise OmniError(f"--transcript {name}: expected a name that ends with {', '.join(SUFFIXES)}")
    check_writable(path, f"--transcript {name}")
    return path


def goes_by_windows(task: Task | None, conversation: list[dict[str, Any]], speaks: bool, access: MediaAccess) -> bool:
    """Whether the question is about a recording that is, or may be, longer than one window. Raises OmniError for a
    recording that cannot be read, and for one that is too long to be answered in speech."""
    if task is None or task.name not in TASKS:
        return False
    audio = audio_of(conversation)
    if audio.startswith(("http://", "https://")):
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
    """The only medium of a task's question."""
    return next(media_parts(conversation))[1]
