"""What record_half.py records of half precision on torch, and how the tests read it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from reference_cases import CASES, FOLDERS, Case, media, text, user

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "half"
BUILT_IN = "built_in"  # the trained model that the package brings
DTYPES = ("bfloat16", "float16")
HELD_OUT = HERE.parent / "tiny" / "held_out.json"

_BRIEF = {"thinker_max_new_tokens": 4, "talker_max_new_tokens": 3}
_RANDOM = ("tiny-image", "tiny-audio_question", "tiny-video_with_sound", "wide-text", "deep-text")


def name_of(case: Case) -> str:
    return f"{case.checkpoint}-{case.name}"


def _built_in(name: str, *content: dict[str, Any], **options: Any) -> Case:
    return Case(name, [user(*content)], checkpoint=BUILT_IN, **_BRIEF, **options)


# The conversations whose hidden states are recorded, layer by layer.
LAYER_CASES: list[Case] = [
    *(replace(case, **_BRIEF) for case in CASES if name_of(case) in _RANDOM),
    # Here bfloat16 says something else than float32 from the second id on.
    Case("red", [user(text("What is red and round?"))], thinker_max_new_tokens=12, talker_max_new_tokens=4),
    _built_in("shapes", media("image", "held_out/image_20_1.png"), text("Is the square above the circle?")),
    _built_in("words", media("audio", "held_out/transcript_23_1.wav"), text("What is said?")),
    _built_in(
        "film",
        media("video", "held_out/audio_in_video_14_1.mp4"),
        text("What do you see and hear?"),
        use_audio_in_video=True,
    ),
]


def kept_rows(count: int) -> np.ndarray:
    """Which of `count` tokens are recorded: at most six, evenly spread, the last one among them."""
    return np.unique(np.linspace(0, count - 1, 6).round().astype(np.int64))


def kept_columns(width: int) -> np.ndarray:
    """Which of `width` logits or features are recorded: at most 128, evenly spread."""
    return np.unique(np.linspace(0, width - 1, 128).round().astype(np.int64))


def layers(case: Case) -> dict[str, dict[str, np.ndarray]]:
    """dtype (float32, bfloat16, float16) -> what was recorded, by its name in `record_half.Layers`."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(RECORDED / f"{name_of(case)}.npz") as arrays:
        for key in arrays.files:
            dtype, _, name = key.partition("/")
            found.setdefault(dtype, {})[name] = arrays[key]
    return found


@cache
def decisions() -> dict[str, Any]:
    """Of every reference conversation: "checkpoint-case" -> stage -> of each choice its id, and the margin of the id
    before the next candidate in float32 and, with the same past, in float16 ("bfloat16" likewise)."""
    return json.loads((RECORDED / "decisions.json").read_text(encoding="utf-8"))


def held_out_answers() -> dict[str, Any]:
    """What transformers answers the conversations of tests/tiny/held_out.json: dtype -> answers in their order."""
    return json.loads((RECORDED / "held_out.json").read_text(encoding="utf-8"))


def held_out_cases() -> list[dict[str, Any]]:
    """tests/tiny/held_out.json with its media where they are."""
    cases = json.loads(HELD_OUT.read_text(encoding="utf-8"))
    for case in cases:
        for message in case["conversation"]:
            for part in message["content"]:
                for kind in ("image", "audio", "video"):
                    if kind in part:
                        part[kind] = str(FOLDERS["held_out"] / part[kind])
    return cases
