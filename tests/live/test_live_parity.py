"""From outside: what the command line answers equals what transformers on torch answers, recorded afresh.

Seeds and sizes are none of the reference set's, and one checkpoint is written by transformers itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from int8_values import write_rounded

from ms_omni.checkpoint.tiny import write_tiny

REFERENCE = Path(__file__).parents[1] / "reference"
sys.path.insert(0, str(REFERENCE))
from reference_cases import (  # noqa: E402
    ASK,
    BALL,
    QUESTION,
    SHAPES,
    Case,
    assistant,
    located,
    media,
    system,
    text,
    user,
)

REFERENCE_PYTHON = os.environ.get("MS_OMNI_REFERENCE_PYTHON")
WAVE_TOLERANCE = 1e-4

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not REFERENCE_PYTHON, reason="MS_OMNI_REFERENCE_PYTHON names no Python with torch"),
]

CASES = [
    Case("words", [system("Answer slowly."), user(text("Why is the sea blue?"))], checkpoint="fresh", speaker="Aiden"),
    Case(
        "penalty",
        [user(SHAPES, text("What do you see, and what do you not see?"))],
        checkpoint="fresh",
        thinker_max_new_tokens=20,
        thinker_repetition_penalty=1.5,
    ),
    Case(
        "turns",
        [user(SHAPES, text("Blue?")), assistant("One of them."), user(media("audio", "media/twenty_seconds.flac"))],
        checkpoint="fresh",
    ),
    Case("media", [user(QUESTION, SHAPES, media("video", "media/silent.mp4"), ASK)], checkpoint="by_transformers"),
    Case("sound_of_video", [user(BALL)], checkpoint="by_transformers", use_audio_in_video=True, speaker="Chelsie"),
    Case("words", [user(text("Why is the sea blue?"))], checkpoint="rounded", speaker="Aiden"),
    Case("media", [user(QUESTION, SHAPES, ASK)], checkpoint="by_transformers_rounded"),
    Case("no_talker", [user(media("image", "media/tall_odd.png"), QUESTION)], checkpoint="thinking", speak=False),
]

# transformers answers with the float values that the 8-bit weights of another checkpoint stand for
SOURCES = {"rounded": "fresh", "by_transformers_rounded": "by_transformers"}


def reference_python(script: Path, *arguments: Any) -> str:
    """Standard output of a script run with torch; it sees this package's source, not this environment's libraries."""
    environment = {**os.environ, "PYTHONPATH": str(REFERENCE.parents[1])}
    command = [str(REFERENCE_PYTHON), str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the checkpoints, and with transformers' answers in answers/<checkpoint>/."""
    root = tmp_path_factory.mktemp("live")
    write_tiny(root / "fresh", seed=101)
    write_tiny(root / "thinking", seed=102, variant="thinking")
    reference_python(Path(__file__).with_name("torch_checkpoint.py"), root / "fresh", root / "by_transformers", 103)
    for rounded, source in SOURCES.items():
        write_rounded(root / source, root / rounded)
    cases = [{**case.to_dict(), "checkpoint": str(root / case.checkpoint)} for case in CASES if can_record(case)]
    (root / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    reference_python(REFERENCE / "record.py", "--cases", root / "cases.json", "--out", root / "answers")
    return root


def can_record(case: Case) -> bool:
    """qwen-omni-utils reads the sound of videos with the ffmpeg program."""
    return not case.use_audio_in_video or shutil.which("ffmpeg") is not None


def understand(case: Case, root: Path, folder: Path) -> tuple[dict[str, Any], np.ndarray | None]:
    """The --json document and the wave of `python -m ms_omni understand`."""
    conversation = folder / "conversation.json"
    conversation.write_text(json.dumps(located(case.conversation)), encoding="utf-8")
    command = [sys.executable, "-m", "ms_omni", "understand", "--json", "--device", "CPU", "--dtype", "float32"]
    source = SOURCES.get(case.checkpoint)
    command += ["--model", str(root / (source or case.checkpoint)), "--conversation", str(conversation)]
    command += ["--quantize", "int8"] if source else []
    command += ["--thinker-temperature", "0", "--thinker-max-new-tokens", str(case.thinker_max_new_tokens)]
    if case.thinker_repetition_penalty is not None:
        command += ["--thinker-repetition-penalty", str(case.thinker_repetition_penalty)]
    wave = folder / "answer.wav"
    if case.speak:
        command += ["--audio-out", str(wave), "--speaker", case.speaker, "--talker-temperature", "0"]
        command += ["--talker-max-new-tokens", str(case.talker_max_new_tokens)]
    if case.use_audio_in_video:
        command.append("--use-audio-in-video")
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout), sf.read(wave, dtype="float32")[0] if case.speak else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.checkpoint}-{case.name}")
def test_command_line_answers_as_transformers(case: Case, recorded: Path, tmp_path: Path) -> None:
    if not can_record(case):
        pytest.skip("the ffmpeg program is not installed: qwen-omni-utils cannot read the sound of a video")
    answers = recorded / "answers" / case.checkpoint
    expected = json.loads((answers / f"{case.name}.json").read_text(encoding="utf-8"))
    document, wave = understand(case, recorded, tmp_path)
    assert document["usage"]["prompt_tokens"] == expected["prompt_tokens"]
    assert document["token_ids"] == expected["token_ids"], expected["smallest_margins"]
    assert document["finish_reason"] == expected["finish_reason"]
    if wave is None:
        assert document["audio"] is None
        return
    assert document["audio"]["num_frames"] == expected["num_frames"]
    assert document["audio"]["finish_reason"] == expected["talker_finish_reason"]
    with np.load(answers / f"{case.name}.npz") as arrays:
        np.testing.assert_allclose(wave, arrays["wave"], rtol=0, atol=WAVE_TOLERANCE)
