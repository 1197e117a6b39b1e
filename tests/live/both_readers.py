"""Run in an environment with MindSpore and torch: what this package and qwen-omni-utils read, and what the built-in
model answers about it.

both_readers.py DIRECTORY    writes DIRECTORY/report.json
"""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1]
PATCHES = TESTS.parent / "ms_omni" / "profiling" / "transformers_reference"
sys.path[:0] = [str(TESTS / "inputs"), str(TESTS / "reference"), str(PATCHES)]
from input_cases import CASES  # noqa: E402
from made_media import ASSETS, REFERENCE_MEDIA, write_all  # noqa: E402

from ms_omni import OmniEngine, OmniError, SamplingParams, process_mm_info  # noqa: E402
from ms_omni.cli.main import main  # noqa: E402

READER = "qwen_omni_utils"
GREEDY = SamplingParams(thinker_temperature=0.0, talker_temperature=0.0, talker_max_new_tokens=9)
ASKED = {"image": ("tiny_shapes.png", "What do you see?"), "audio": ("tiny_words.wav", "What does the voice say?"),
         "video": ("tiny_ball.mp4", "What happens?")}  # fmt: skip


def asked(kind: str, name: str, question: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": kind, kind: str(ASSETS / name)}, {"type": "text", "text": question}]}]


def answers(reader: str) -> list[Any]:
    """Text, token ids and codec frames."""
    with OmniEngine.from_pretrained(device="CPU", media_reader=reader) as engine:
        outputs = [engine.generate(asked(kind, *each), sampling=GREEDY) for kind, each in ASKED.items()]
    return [(output.text, output.token_ids, output.audio.codes.tolist()) for output in outputs if output.audio]


def farthest(found: Any, expected: Any) -> float | None:
    """Largest difference of two media, or of two lists of them; None where shapes, types or numbers do not agree."""
    if isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            return None
        each = [farthest(*pair) for pair in zip(found, expected, strict=True)]
        return None if None in each else max(each, default=0.0)
    if isinstance(expected, dict):  # metadata of a video
        same = expected.keys() == found.keys() and all(np.array_equal(found[key], expected[key]) for key in expected)
        return 0.0 if same else None
    if expected is None:
        return 0.0 if found is None else None
    one, other = np.asarray(found), np.asarray(expected)
    if one.shape != other.shape or one.dtype != other.dtype:
        return None
    return float(np.abs(one.astype(np.float64) - other).max())


def read_cases(made: Path) -> dict[str, Any]:
    """Of each case: how far what the package itself reads is from what it reads for us, and from what we read."""
    from qwen_omni_utils import process_mm_info as original

    distances = {}
    for case in CASES:
        if case.use_audio_in_video and shutil.which("ffmpeg") is None:  # with which the package reads videos' sound
            continue
        conversation, options = case.conversation(made), (case.use_audio_in_video, True)
        for with_metadata in (False, True):
            *theirs, kwargs = original(conversation, *options, with_metadata)
            *through_us, our_kwargs = process_mm_info(conversation, *options, with_metadata, reader=READER)
            assert our_kwargs == kwargs, case.name
            own = process_mm_info(conversation, *options, with_metadata)[:3]
            name = f"{case.name}, with metadata" if with_metadata else case.name
            distances[name] = farthest(through_us, theirs), [farthest(*pair) for pair in zip(own, theirs, strict=True)]
    return distances


def command(made: Path) -> dict[str, Any]:
    """What `ms-omni understand --media-reader qwen_omni_utils` writes."""
    out, (name, question) = StringIO(), ASKED["image"]
    words = ["understand", "--media-reader", READER, "--image", str(ASSETS / name), "--text", question, "--json"]
    with redirect_stdout(out):
        assert main(words) == 0
    return json.loads(out.getvalue())


def error() -> str:
    """Of a video without sound."""
    try:
        process_mm_info(asked("video", str(REFERENCE_MEDIA / "silent.mp4"), "What?"), True, reader=READER)
    except OmniError as said:
        return str(said)
    return ""


def report(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"answers": {"auto": answers("auto")}}
    import torch_patches

    torch_patches.allow_torchvision_without_its_extension()
    found["answers"][READER] = answers(READER)
    found["cases"] = read_cases(write_all(directory / "made"))
    found["modules"] = sorted({"decord", "mindspore", "torch", "torchvision", "qwen_omni_utils"} & set(sys.modules))
    return found | {"command": command(directory), "error": error()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "report.json").write_text(json.dumps(report(folder)), encoding="utf-8")
