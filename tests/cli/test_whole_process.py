"""The real command in a process of its own: what reaches stdout and stderr when the libraries load for real."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*words, cwd=None):
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=600)


def test_json_is_all_of_stdout_and_stderr_is_quiet(tiny_dir):
    words = ["understand", "--model", tiny_dir, "--text", "Hi", "--json", "--thinker-max-new-tokens", "3"]
    done = run("-m", "ms_omni", *words)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1 and document["audio"] is None
    assert len(document["token_ids"]) == document["usage"]["completion_tokens"] <= 3
    assert all(line.startswith("ms-omni: ") for line in done.stderr.splitlines()), done.stderr


@pytest.mark.slow
def test_script_speaks_and_streams(tiny_dir, tmp_path):
    words = ["--model", tiny_dir, "--conversation", ROOT / "launch/conversation.json", "--stream"]
    words += ["--config", ROOT / "configs/demo.yaml", "--talker-max-new-tokens", "6"]
    done = run(ROOT / "launch/omni_understanding.py", *words, "--audio-out", tmp_path / "a.wav")
    assert done.returncode == 0 and done.stdout.endswith("\n") and len(done.stdout) > 1, done.stderr
    assert (tmp_path / "a.wav").stat().st_size > 3 * 1920


@pytest.mark.slow
def test_the_demos_answer_is_right(tmp_path):
    words = ["--conversation", ROOT / "launch/conversation.json", "--config", ROOT / "configs/demo.yaml"]
    done = run(ROOT / "launch/omni_understanding.py", *words, "--audio-out", tmp_path / "a.wav")
    assert done.stdout.strip() == (
        "I see a red circle, a blue square and a yellow triangle. The voice says hello seven. "
        "A red circle moves to the right and the voice says go right."
    ), done.stderr


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_a_stream(tmp_path):
    command = [sys.executable, "-m", "ms_omni", "understand", "--text", "What is your name?", "--stream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read().count("\n") <= 1 and process.wait(timeout=600) == 141
