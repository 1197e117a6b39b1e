"""Translates content parts of OpenAI's chat API into those of qwen-omni-utils. Imports nothing heavy."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from ms_omni.errors import OmniError

# Type -> its type here, and the keys of the object in it. OpenAI has `detail` for images only.
_TYPES = {
    "image_url": ("image", ("url", "detail")),
    "audio_url": ("audio", ("url",)),
    "video_url": ("video", ("url",)),
    "input_audio": ("audio", ("data", "format")),
}
TYPES = tuple(_TYPES)


def translated(part: Any, where: str) -> Any:
    """{"type": "image", "image": URL, ...} for {"type": "image_url", "image_url": {"url": URL}, ...}, and likewise for
    audio_url, video_url and input_audio. Other parts are returned as they are. The medium may also be a plain string.

    Further keys are kept, so `max_pixels` and the like work beside a URL. Raises OmniError, one line naming `where`."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in _TYPES or not _is_openai(part, kind):
        return part
    if kind not in part:
        raise OmniError(f"{where}: {kind} part without {kind!r}")
    name, keys = _TYPES[kind]
    if name in part:
        raise OmniError(f"{where}: both {kind!r} and {name!r}; give one")
    medium = _medium(kind, keys, part[kind], where)
    return {"type": name, name: medium, **{key: value for key, value in part.items() if key not in ("type", kind)}}


def _is_openai(part: dict[str, Any], kind: str) -> bool:
    """Whether to translate it: qwen-omni-utils too has a type image_url, with the URL as a string or under `image`."""
    return kind != "image_url" or isinstance(part.get(kind), dict)


def _medium(kind: str, keys: tuple[str, ...], value: Any, where: str) -> str:
    key = keys[0]
    if isinstance(value, str) and kind != "input_audio":
        value = {key: value}
    if not isinstance(value, dict):
        wanted = '{"data": "...", "format": "wav"}' if kind == "input_audio" else '{"url": "..."}'
        raise OmniError(f"{where}: {kind!r} must be an object {wanted}, got {type(value).__name__}")
    for other in value:
        if other not in keys:
            raise OmniError(f"{where}: unknown key {str(other)[:40]!r} in {kind!r}; allowed: {', '.join(keys)}")
    if key not in value:
        raise OmniError(f"{where}: {kind!r} without {key!r}")
    medium = value[key]
    if not isinstance(medium, str) or not medium:
        got = "an empty string" if medium == "" else type(medium).__name__
        raise OmniError(f"{where}: {key!r} of {kind!r} must be a text, got {got}")
    if value.get("detail", "auto") != "auto":
        raise OmniError(f"{where}: 'detail' can only be 'auto'; 'max_pixels' makes a picture smaller")
    return _data_url(medium, value.get("format", "wav"), where) if kind == "input_audio" else medium


def _data_url(data: str, form: Any, where: str) -> str:
    """The data: URL of base64-encoded sound. A value that is a URL already is returned as it is."""
    if not isinstance(form, str) or not re.fullmatch(r"[A-Za-z0-9.+-]{1,40}", form):
        raise OmniError(f"{where}: 'format' of 'input_audio' must be a word such as wav or mp3, got {str(form)[:40]!r}")
    if data.startswith(("data:", "http://", "https://")):  # as DashScope's API has it
        return data
    packed = "".join(data.split())  # the base64 program breaks its lines
    try:
        base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise OmniError(
            f"{where}: 'data' of 'input_audio' is not valid base64 ({error}); a path goes into an audio_url part"
        ) from error
    return f"data:audio/{form};base64,{packed}"
