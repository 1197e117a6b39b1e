"""The reader `qwen_omni_utils` with the package itself, in one process with MindSpore."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

PYTHON = os.environ.get("MS_OMNI_REFERENCE_PYTHON")
ROOT = Path(__file__).parents[2]
# A step of 16 bits in the sound of AAC, after resampling: versions of FFmpeg round differently (docs/inputs.md)
SOUND = 3e-5

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not PYTHON, reason="MS_OMNI_REFERENCE_PYTHON names no Python with torch and qwen-omni-utils"),
]


PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'), end='')"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with this one's packages, and behind them those of the one with torch."""
    directory = tmp_path_factory.mktemp("both")
    venv.create(directory, symlinks=True)
    python = directory / "bin" / "python"
    theirs = subprocess.run([str(PYTHON), "-c", PURELIB], capture_output=True, text=True, check=True).stdout
    own = subprocess.run([python, "-c", PURELIB], capture_output=True, text=True, check=True).stdout
    (Path(own) / "both.pth").write_text(f"{sysconfig.get_path('purelib')}\n{theirs}\n")
    return python


@pytest.fixture(scope="module")
def report(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("readers")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FORCE_QWENVL_VIDEO_READER": "decord"}
    command = [python, Path(__file__).with_name("both_readers.py"), directory]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, cwd=directory)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((directory / "report.json").read_text(encoding="utf-8"))


def test_mindspore_and_torch_work_in_one_process(report):
    assert report["modules"] == ["decord", "mindspore", "qwen_omni_utils", "torch", "torchvision"]


def test_the_model_answers_alike_whoever_reads(report):
    """Of a picture, a WAV file and the frames of a video, which are read alike to the last bit."""
    own, theirs = report["answers"]["auto"], report["answers"]["qwen_omni_utils"]
    assert own == theirs and [text for text, _, _ in own] == [
        "I see a red circle, a blue square and a yellow triangle.",
        "The voice says hello seven.",
        "A red circle moves to the right.",
    ]


def test_media_are_those_of_the_package(report):
    """Through the reader `qwen_omni_utils` exactly; by our own reader, too, but for the sound of AAC and for metadata,
    which say who has read them."""
    assert len(report["cases"]) > 40
    for name, (through_us, own) in report["cases"].items():
        assert through_us == 0.0, name
        audio, image, video = own
        assert audio is not None and audio <= (SOUND if "video" in name else 0.0), (name, own)
        assert image == 0.0 and (video == 0.0 or name.endswith("with metadata")), (name, own)


def test_the_command_reads_with_it(report):
    text, token_ids, _ = report["answers"]["auto"][0]
    assert report["command"]["text"] == text and report["command"]["token_ids"] == token_ids


def test_its_errors_are_one_line(report):
    assert report["error"] == "qwen_omni_utils: Video must has audio track when use_audio_in_video=True"
