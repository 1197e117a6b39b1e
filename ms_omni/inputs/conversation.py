"""Validates conversations, and reads them from JSON files. Imports nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ms_omni.errors import OmniError, did_you_mean
from ms_omni.files import read_json
from ms_omni.inputs import openai_parts
from ms_omni.inputs.schema import CONTENT_TYPES, OPTION_KEYS, ROLES, SOURCE_KEYS, part_type
from ms_omni.inputs.schema import media_parts as media_parts
from ms_omni.inputs.tools import with_checked_calls

# Products of two such sizes are still exact enough for comparisons
_MAX_SIZE = 1 << 53
_WANTED = {
    "size": "a whole number above 0 and at most 2^53",
    "count": "a number above 0",
    "rate": "a number above 0",
    "seconds": "a number of seconds from 0",
}
_ALL_TYPES = (*CONTENT_TYPES, *openai_parts.TYPES)
_REMOTE = ("http://", "https://", "file://", "data:")
_MESSAGE_KEYS = ("role", "content", "reasoning_content", "tool_calls", "tool_call_id")


def load_conversation(path: str | Path) -> list[dict[str, Any]]:
    """The validated conversation of a JSON file.

    A relative media path counts from the current directory, as in qwen-omni-utils; where nothing is there, from the
    directory of the file. Raises OmniError naming the file: missing, unreadable, not UTF-8, not JSON (with line and
    column), or whatever `validate_conversation` refuses.
    """
    path = Path(path)
    where = f"--conversation {path}"
    conversation = validate_conversation(read_json(path, where), where)
    return [with_local_paths(message, path.parent) for message in conversation]


def build_conversation(
    system: str | None = None,
    text: str | None = None,
    images: Iterable[Any] = (),
    audios: Iterable[Any] = (),
    videos: Iterable[Any] = (),
) -> list[dict[str, Any]]:
    """One turn: the media in the order image, audio, video, then the text, after an optional system prompt.

    Raises OmniError when there is nothing to say."""
    if text is not None and not text.strip():
        raise OmniError("--text: is empty; expected a question, or leave it out to ask with media alone")
    parts = [{"type": "image", "image": image} for image in images]
    parts += [{"type": "audio", "audio": audio} for audio in audios]
    parts += [{"type": "video", "video": video} for video in videos]
    if text is not None:
        parts.append({"type": "text", "text": text})
    if not parts:
        raise OmniError("nothing to answer: give --conversation, --text, --image, --audio or --video")
    messages: list[dict[str, Any]] = []
    if system is not None:
        messages.append({"role": "system", "content": [{"type": "text", "text": system}]})
    messages.append({"role": "user", "content": parts})
    return validate_conversation(messages)


def validate_conversation(obj: Any, where: str = "conversation") -> list[dict[str, Any]]:
    """Returns `obj` if it is a conversation: a list of {"role", "content"}, content a string or a list of parts. If it
    has parts in the form of OpenAI's API (`openai_parts`), returns a copy with these translated.

    Raises OmniError, one line naming `where`, the message and the part (both counted from 0), for anything else.
    Media are not opened here."""
    if not isinstance(obj, list):
        raise OmniError(f"{where}: expected a list of messages, got {_kind(obj)}")
    if not obj:
        raise OmniError(f"{where}: expected at least one message, got an empty list")
    messages = [_checked_message(message, f"{where}: message {index}") for index, message in enumerate(obj)]
    if not any(message["role"] == "user" for message in messages):
        raise OmniError(f"{where}: no message with role 'user'")
    return messages if any(new is not old for new, old in zip(messages, obj, strict=True)) else obj


def _checked_message(message: Any, where: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise OmniError(f"{where}: expected an object with role and content, got {_kind(message)}")
    if "tool_calls" in message:
        message = with_checked_calls(message, where)
    for key in ("role", "content"):
        if key not in message:
            raise OmniError(f"{where}: {key!r} is missing")
    _refuse_unknown(message, _MESSAGE_KEYS, where)
    role, content = message["role"], message["content"]
    if not isinstance(role, str) or role not in ROLES:
        raise OmniError(f"{where}: unknown role {_short(role)}; allowed: {', '.join(ROLES)}")
    for key in ("reasoning_content", "tool_call_id"):
        if not isinstance(message.get(key, ""), str):
            raise OmniError(f"{where}: {key!r} must be a string, got {_kind(message[key])}")
    if isinstance(content, str):
        return message
    if not isinstance(content, list):
        raise OmniError(f"{where}: 'content' must be a string or a list of parts, got {_kind(content)}")
    if not content:
        raise OmniError(f"{where}: 'content' is an empty list")
    parts = [openai_parts.translated(part, f"{where}, part {index}") for index, part in enumerate(content)]
    for index, part in enumerate(parts):
        _check_part(part, f"{where}, part {index}")
    return {**message, "content": parts} if any(a is not b for a, b in zip(parts, content, strict=True)) else message


def _check_part(part: Any, where: str) -> None:
    if not isinstance(part, dict):
        raise OmniError(f"{where}: expected an object with a type, got {_kind(part)}")
    if "type" not in part:
        raise OmniError(f"{where}: 'type' is missing; allowed: {', '.join(_ALL_TYPES)}")
    if not isinstance(part["type"], str) or part_type(part) not in CONTENT_TYPES:
        raise OmniError(f"{where}: unknown content type {_short(part['type'])}; allowed: {', '.join(_ALL_TYPES)}")
    kind = part_type(part)
    sources, options = SOURCE_KEYS[kind], OPTION_KEYS[kind]
    _refuse_unknown(part, ("type", *sources, *options), where)
    given = [key for key in sources if key in part]
    if not given:
        raise OmniError(f"{where}: {kind} part without {' or '.join(repr(key) for key in sources)}")
    if len(given) > 1:
        raise OmniError(f"{where}: both {given[0]!r} and {given[1]!r}; give one")
    _check_source(kind, given[0], part[given[0]], where)
    for key, wanted in options.items():
        if key in part and not _fits(part[key], wanted):
            raise OmniError(f"{where}: {key!r} must be {_WANTED[wanted]}, got {_short(part[key])}")
    _check_combinations(part, where)


def _check_source(kind: str, key: str, value: Any, where: str) -> None:
    if isinstance(value, str):
        if not value and kind != "text":
            raise OmniError(f"{where}: {key!r} is an empty string")
        return
    if kind == "text":
        raise OmniError(f"{where}: {key!r} must be a string, got {_kind(value)}")
    if kind == "video" and isinstance(value, (list, tuple)):
        if not value:
            raise OmniError(f"{where}: {key!r} is an empty list of frames")
        for index, frame in enumerate(value):
            if not isinstance(frame, str) and not _is_media_object(frame):
                raise OmniError(f"{where}: frame {index} of {key!r} must be a path or an image, got {_kind(frame)}")
        return
    if not _is_media_object(value):
        more = ", a list of frames" if kind == "video" else ""
        raise OmniError(f"{where}: {key!r} must be a path, a URL{more} or an array, got {_kind(value)}")


def _check_combinations(part: dict[str, Any], where: str) -> None:
    if "fps" in part and "nframes" in part:
        raise OmniError(f"{where}: both 'fps' and 'nframes'; give one")
    if ("resized_height" in part) != ("resized_width" in part):
        raise OmniError(f"{where}: 'resized_height' and 'resized_width' must be given together")
    for low, high in (("audio_start", "audio_end"), ("video_start", "video_end")):
        if high in part and part.get(low, 0) >= part[high]:
            raise OmniError(f"{where}: {low!r} {part.get(low, 0)} must be below {high!r} {part[high]}")
    for low, high in (("min_pixels", "max_pixels"), ("min_frames", "max_frames")):
        if low in part and high in part and part[low] > part[high]:
            raise OmniError(f"{where}: {low!r} {part[low]} is above {high!r} {part[high]}")


def _refuse_unknown(obj: dict[Any, Any], allowed: Sequence[str], where: str) -> None:
    for key in obj:
        if key not in allowed:
            guess = did_you_mean(key, allowed)
            raise OmniError(f"{where}: unknown key {_short(key)}{guess}; allowed: {', '.join(allowed)}")


def _fits(value: Any, wanted: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        return False  # neither nan nor an int that no float holds
    if wanted == "seconds":
        return value >= 0
    return value > 0 and (wanted != "size" or (value <= _MAX_SIZE and value == int(value)))


def _is_media_object(value: Any) -> bool:
    """Whether it is a numpy array or a PIL image, found out without importing either."""
    return hasattr(value, "__array_interface__") or hasattr(value, "getbands")


def with_local_paths(message: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The message with those relative media paths resolved against `directory` that do not exist in the current one."""
    if isinstance(message["content"], str):
        return message
    parts = []
    for part in message["content"]:
        sources = () if part_type(part) == "text" else SOURCE_KEYS[part_type(part)]
        parts.append({k: _localize(v, directory) if k in sources else v for k, v in part.items()})
    return {**message, "content": parts}


def _localize(value: Any, directory: Path) -> Any:
    if isinstance(value, list):
        return [_localize(item, directory) for item in value]
    if value.startswith(_REMOTE) or _exists(Path(value)) or not _exists(directory / value):
        return value
    return str(directory / value)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long or with a null byte: reading it will give the error
        return False


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", type(None): "null", bool: "a boolean"}
    return names.get(type(value), f"{type(value).__name__}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
