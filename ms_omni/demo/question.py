"""Turns and settings of the page as the body of a chat request."""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T", int, float)
MIB = 1 << 20
# Types that Python may not know; independent of the machine's tables
_TYPES = {
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
}


class QuestionError(Exception):
    """Why a question is not sent, for the user."""


@dataclass
class Turn:
    """files: paths. notes: shown with the text but never sent: errors, and that an answer was cut. wave: path of the
    answer's speech. failed: it has no answer, and is left out of later requests."""

    role: Literal["user", "assistant"]
    text: str = ""
    files: tuple[str, ...] = ()
    reasoning: str = ""
    notes: str = ""
    wave: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Settings:
    """Settings of the page. None and "" leave the choice to the server."""

    model: str | None = None
    speaks: bool = False
    voice: str | None = None
    system: str = ""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    use_audio_in_video: bool = False


def chat_body(turns: Sequence[Turn], settings: Settings, max_bytes: int) -> bytes:
    """The request for an answer to the last turn. Raises QuestionError. Reads files, so not for the event loop."""
    sent = [turn for turn in turns if not turn.failed]
    check_size((name for turn in sent for name in turn.files), max_bytes)
    messages: list[dict[str, Any]] = []
    if settings.system.strip():
        messages.append({"role": "system", "content": settings.system})
    messages += [_message(turn) for turn in sent]
    body: dict[str, Any] = {"messages": messages, "stream": True, "modalities": ["text"]}
    if settings.speaks:
        body["modalities"] = ["text", "audio"]
        body["audio"] = {"format": "pcm16"} | ({"voice": settings.voice} if settings.voice else {})
    given = {name: getattr(settings, name) for name in ("model", "temperature", "top_p", "max_tokens", "seed")}
    body |= {name: value for name, value in given.items() if value is not None}
    if settings.use_audio_in_video and any(_kind(name) == "video" for turn in sent for name in turn.files):
        body["mm_processor_kwargs"] = {"use_audio_in_video": True}
    return json.dumps(body).encode()


def check_size(files: Iterable[str], max_bytes: int) -> None:
    """Raises QuestionError if the files are together too large for one request of `max_bytes`."""
    total, most = sum(Path(name).stat().st_size for name in files), max_file_bytes(max_bytes)
    if total > most:
        raise QuestionError(
            f"The files of this conversation are {total / MIB:.0f} MiB together; one request takes {most // MIB} MiB. "
            "Clear the conversation, or take smaller files."
        )


def max_file_bytes(max_bytes: int) -> int:
    """Most bytes of media in one request: base64 writes three bytes as four, and the text needs room."""
    return (max_bytes - min(MIB, max_bytes // 4)) * 3 // 4


def number(name: str, text: str, kind: Callable[[str], T]) -> T | None:
    """The number in a field of the page; None if it is empty. Raises QuestionError."""
    try:
        return kind(text) if text.strip() else None
    except ValueError:
        whole = "a whole number" if kind is int else "a number"
        raise QuestionError(f"{name}: expected {whole}, got {text!r}.") from None


def _message(turn: Turn) -> dict[str, Any]:
    if not turn.files:
        return {"role": turn.role, "content": turn.text}
    parts = [_part(name) for name in turn.files]
    if turn.text.strip():
        parts.append({"type": "text", "text": turn.text})
    return {"role": turn.role, "content": parts}


def _part(name: str) -> dict[str, Any]:
    kind, data = _kind(name), base64.b64encode(Path(name).read_bytes()).decode()
    if kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": data, "format": Path(name).suffix[1:].lower() or "wav"}}
    key = f"{kind}_url"
    return {"type": key, key: {"url": f"data:{_type(name)};base64,{data}"}}


def _type(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "")


def _kind(name: str) -> str:
    kind = _type(name).partition("/")[0]
    if kind not in ("image", "audio", "video"):
        raise QuestionError(f"{Path(name).name}: expected a picture, a sound or a video.")
    return kind
