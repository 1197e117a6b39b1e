"""Workloads, read from YAML: what to ask. A list of values means a case for each."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ms_omni.errors import OmniError, did_you_mean
from ms_omni.files import read_yaml

DIRECTORY = Path(__file__).parents[1] / "assets" / "workloads"  # a link to configs/workloads
DEFAULT = "text"


@dataclass(frozen=True)
class Recipe:
    """One case before its text and its media are generated.

    text: the question. prompt_tokens: generated text of at most so many tokens instead. image_pixels: (width, height)
    of a picture. video_pixels, video_fps: of the video file, of which the processor uses two frames a second. speech:
    whether the answer is spoken. batch_size: how many conversations like this one are asked at once. conversation: the
    user's own, instead of all these. origin: for errors."""

    name: str
    origin: str
    text: str | None = None
    prompt_tokens: int | None = None
    image_pixels: tuple[int, int] | None = None
    audio_seconds: float | None = None
    video_seconds: float | None = None
    video_pixels: tuple[int, int] = (640, 360)
    video_fps: int = 25
    use_audio_in_video: bool = False
    speech: bool = True
    thinker_max_new_tokens: int = 64
    talker_max_new_tokens: int = 51
    batch_size: int = 1
    conversation: list[dict[str, Any]] | None = None


def names() -> list[str]:
    """The names of the workloads that come with the package."""
    return sorted(path.stem for path in DIRECTORY.glob("*.yaml"))


def read_workload(name: str) -> list[Recipe]:
    """The cases of one of `names()` or of a YAML file. Raises OmniError naming the file, the key and what is
    allowed."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        path = DIRECTORY / f"{name}.yaml"
        if name not in names():
            raise OmniError(_unknown(name))
    origin = f"--workload {name}"
    content = _read(path, origin)
    values = {key: _values(key, value, origin) for key, value in content.items() if key != "description"}
    _check_together(values, origin)
    swept = [key for key, several in values.items() if len(several) > 1]
    recipes = []
    for chosen in itertools.product(*values.values()):
        case = dict(zip(values, chosen, strict=True))
        label = ", ".join(f"{key} {_written(case[key])}" for key in swept)
        recipes.append(Recipe(name=f"{path.stem} ({label})" if label else path.stem, origin=origin, **case))
    return recipes


def in_batches(recipes: Sequence[Recipe], sizes: Sequence[int]) -> list[Recipe]:
    """Each case once for every number of conversations at once. Raises OmniError for a workload with a batch_size of
    its own."""
    for recipe in recipes:
        if recipe.batch_size > 1:
            raise OmniError(f"{recipe.origin}: its batch_size and --batch exclude each other; leave one of them away")
    return [
        replace(recipe, batch_size=size, name=f"{recipe.name}, batch {size}" if len(sizes) > 1 else recipe.name)
        for recipe in recipes
        for size in sizes
    ]


def _unknown(name: str) -> str:
    known = names()
    return (
        f"--workload {name}: unknown workload{did_you_mean(name, known)}; expected a file that ends with .yaml, or one "
        f"of {', '.join(known)}"
    )


def _read(path: Path, origin: str) -> dict[str, Any]:
    content = read_yaml(path, origin)
    if not isinstance(content, dict) or not content:
        raise OmniError(f"{origin}: expected a mapping of settings; allowed: {', '.join(sorted(_ALLOWED))}")
    for key in content:
        if key not in _ALLOWED:
            guess = did_you_mean(key, _ALLOWED)
            raise OmniError(f"{origin}: unknown key {str(key)!r}{guess}; allowed: {', '.join(sorted(_ALLOWED))}")
    return content


def _values(key: str, value: Any, origin: str) -> list[Any]:
    """The checked values of one key; several only for keys that may have several cases."""
    what, check, may_repeat = _KEYS[key]
    given = value if isinstance(value, list) else [value]
    if not given or (len(given) > 1 and not may_repeat):
        raise OmniError(f"{origin}: {key}: expected {'at least one value' if not given else 'one value'}, {what}")
    checked = []
    for item in given:
        result = check(item)
        if result is None:
            raise OmniError(f"{origin}: {key}: {item!r} is not allowed; expected {what}")
        checked.append(result)
    if len(set(map(str, checked))) < len(checked):
        raise OmniError(f"{origin}: {key}: {value} names a case twice")
    return checked


def _check_together(values: Mapping[str, list[Any]], origin: str) -> None:
    if "text" in values and "prompt_tokens" in values:
        raise OmniError(f"{origin}: text and prompt_tokens exclude each other: prompt_tokens generates the text")
    if not any(key in values for key in ("text", "prompt_tokens", "image_pixels", "audio_seconds", "video_seconds")):
        raise OmniError(
            f"{origin}: asks nothing; give text, prompt_tokens, image_pixels, audio_seconds or video_seconds"
        )
    if values.get("use_audio_in_video") == [True] and "video_seconds" not in values:
        raise OmniError(f"{origin}: use_audio_in_video without a video; give video_seconds")


def _written(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _whole(low: int) -> Callable[[Any], int | None]:
    return lambda value: value if isinstance(value, int) and not isinstance(value, bool) and value >= low else None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def _size(value: Any) -> tuple[int, int] | None:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", str(value).lower())
    return (int(match[1]), int(match[2])) if match else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


# key -> (what is allowed, its check, which returns the value or None, whether it may have several cases)
_KEYS: dict[str, tuple[str, Callable[[Any], Any], bool]] = {
    "text": ("a text", _text, False),
    "prompt_tokens": ("a whole number of at least 1", _whole(1), True),
    "image_pixels": ("WIDTHxHEIGHT in pixels, such as 1280x720", _size, True),
    "audio_seconds": ("a number of seconds above 0", _seconds, True),
    "video_seconds": ("a number of seconds above 0", _seconds, True),
    "video_pixels": ("WIDTHxHEIGHT in pixels, such as 640x360", _size, False),
    "video_fps": ("a whole number of at least 1", _whole(1), False),
    "use_audio_in_video": ("true or false", _switch, False),
    "speech": ("true or false", _switch, False),
    "thinker_max_new_tokens": ("a whole number of at least 1", _whole(1), True),
    "talker_max_new_tokens": ("a whole number of at least 2", _whole(2), True),
    "batch_size": ("a whole number of at least 1", _whole(1), True),
}
_ALLOWED = ("description", *_KEYS)
