"""mindone's own Qwen3-Omni, not corrected in any way, runs on the CPU with the fills."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def result(tiny_dir):
    program = Path(__file__).with_name("mindone_program.py")
    run = subprocess.run([sys.executable, program, tiny_dir], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "audio", "image", "streamed"])
def test_the_thinker_answers(result, kind):
    assert len(result[kind]) == 6


@pytest.mark.slow
def test_the_streamer_sees_every_token(result):
    assert result["streamer"] == {"ids": result["streamed"], "ended": True}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["greedy_speech", "sampled_speech"])
def test_the_talker_speaks(result, kind):
    assert result[kind]["finite"]
    # 1920 samples a codec frame, less the 555 that the transposed convolutions trim
    assert result[kind]["num_samples"] in {1920 * frames - 555 for frames in (1, 2, 3, 4)}
