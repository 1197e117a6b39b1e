"""Roles, content types and keys of a conversation, as in qwen-omni-utils 0.0.9."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

ROLES = ("system", "user", "assistant", "tool")
CONTENT_TYPES = ("text", "image", "audio", "video")
# qwen-omni-utils also accepts this type, and the chat template renders it as an image.
TYPE_ALIASES = {"image_url": "image"}
# Keys that may hold the medium of each type.
SOURCE_KEYS = {
    "text": ("text",),
    "image": ("image", "image_url"),
    "audio": ("audio", "audio_url"),
    "video": ("video", "video_url"),
}
_SIZE_KEYS = {"min_pixels": "size", "max_pixels": "size", "resized_height": "size", "resized_width": "size"}
# Option -> what its value must be; the options are those of qwen-omni-utils 0.0.9.
OPTION_KEYS: dict[str, dict[str, str]] = {
    "text": {},
    "image": _SIZE_KEYS,
    "audio": {"audio_start": "seconds", "audio_end": "seconds"},
    "video": {
        **_SIZE_KEYS,
        "video_start": "seconds",
        "video_end": "seconds",
        "fps": "rate",
        "nframes": "count",
        "min_frames": "count",
        "max_frames": "count",
        "total_pixels": "rate",
        "sample_fps": "rate",
        "raw_fps": "rate",
    },
}


def media_parts(conversation: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(type, medium, part) for every image, audio and video of a validated conversation, in order."""
    for message in conversation:
        if not isinstance(message["content"], list):
            continue
        for part in message["content"]:
            kind = part_type(part)
            if kind != "text":
                key = next(key for key in SOURCE_KEYS[kind] if key in part)
                yield kind, part[key], part


def part_type(part: dict[str, Any]) -> str:
    """text, image, audio or video."""
    return TYPE_ALIASES.get(part["type"], part["type"])
