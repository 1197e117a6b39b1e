"""Whole answers to long inputs, each in a process of its own: by how much its memory grows at most."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "long_input_script.py"
ROOT = Path(__file__).parents[2]


def run(kind, model, directory):
    command = [sys.executable, str(SCRIPT), kind, str(model), str(directory)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=1500)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    print(kind, result)
    return result


# Measured (docs/benchmarks/results-long-inputs.md) and half as much again. A matrix of 32,768 x 32,768 float32 would be
# 4096 MiB.
@pytest.mark.parametrize(
    ("kind", "tokens", "limit_mib"),
    [
        pytest.param("text", 32_768, 450, marks=pytest.mark.long),
        pytest.param("audio", 31_200, 1300, marks=pytest.mark.long),
        pytest.param("video", 26_400, 3000, marks=pytest.mark.long),
        pytest.param("image", 4096, 1000, marks=pytest.mark.slow),
    ],
)
def test_a_long_prompt(tiny_dir, tmp_path, kind, tokens, limit_mib):
    result = run(kind, tiny_dir, tmp_path)
    assert tokens <= result["tokens"] < tokens + 100
    assert result["grown_mib"] < limit_mib


@pytest.mark.long
def test_half_an_hour_of_speech(tiny_dir, tmp_path):
    result = run("speech", tiny_dir, tmp_path)
    assert result["samples"] == 22_500 * 1920 - 555
    assert result["grown_mib"] < 600
