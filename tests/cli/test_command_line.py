"""Commands, flags and failures: one line, the right exit code, help at once."""

import os
import subprocess
import sys

import pytest

from ms_omni.cli import tiny as tiny_command
from ms_omni.errors import OmniError


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        ([], ["no command", "understand, batch, serve, demo, example, tiny, doctor"]),
        (["understnd"], ["'understnd'", "did you mean understand?"]),
        (["--vresion"], ["unknown flag --vresion", "did you mean --version?"]),
        (["understand", "--imgae", "x.png"], ["unknown flag --imgae", "did you mean --image?"]),
        (["understand", "--imgae=x.png"], ["unknown flag --imgae,"]),
        (["understand", "--zzz"], ["unknown flag --zzz", "--model", "--talker-top-k"]),
        (["understand", "--conv", "x.json"], ["unknown flag --conv"]),
        (["understand", "word"], ["unexpected argument 'word'"]),
        (["understand", "--text"], ["--text: expected one argument"]),
        (["understand", "--seed", "many"], ["--seed: 'many'", "whole number"]),
        (["understand", "--thinker-temperature", "hot"], ["--thinker-temperature: 'hot'"]),
        (["understand", "--thinker-temperature", "nan"], ["--thinker-temperature: 'nan'"]),
        (["understand", "--fps", "0"], ["--fps: 0", "above 0"]),
        (["understand", "--min-pixels", "0"], ["--min-pixels: 0", "at least 1"]),
        (["understand", "--device", "cpu"], ["--device: 'cpu'", "auto, CPU, Ascend"]),
        (["understand", "--dtype", "float"], ["--dtype: 'float'", "float32"]),
        (["understand", "--parallel", "pp"], ["--parallel: 'pp'", "none", "ep"]),
        (["tiny"], ["missing: DIR"]),
        (["tiny", "a", "--preset", "huge"], ["--preset: 'huge'", "tiny, bench"]),
        (["tiny", "a", "--seed", "-1"], ["--seed: -1", "at least 0"]),
        (["doctor", "--jsn"], ["unknown flag --jsn", "did you mean --json?"]),
    ],
)
def test_wrong_words(user_error, argv, parts):
    line = user_error(*argv)
    assert all(part in line for part in parts), line


def test_a_value_may_start_with_a_dash(cli, fake_engine, tiny_dir):
    assert cli("understand", "--model", tiny_dir, "--text=-1 + 2?").code == 0
    assert fake_engine.asked["conversation"][0]["content"][0]["text"] == "-1 + 2?"


@pytest.mark.parametrize("argv", [["--help"], ["understand", "--help"], ["tiny", "--help"], ["doctor", "--help"]])
def test_help(cli, argv):
    result = cli(*argv)
    assert result.code == 0 and result.out.startswith("usage: ms-omni") and result.err == ""


def test_help_is_fast_and_light():
    program = (
        "import sys; from ms_omni.cli.main import main; main(['--help']); main(['understand', '--help']);"
        "sys.exit(bool({'mindspore', 'mindone', 'transformers', 'numpy', 'rich'} & set(sys.modules)))"
    )
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
        after = os.times()  # the processor's: others may keep it busy
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < 0.5


def failing(monkeypatch, error):
    def run(args):
        raise error

    monkeypatch.setattr(tiny_command, "run", run)


def test_user_error_is_one_line(user_error, monkeypatch):
    failing(monkeypatch, OmniError("first\nsecond"))
    assert user_error("tiny", "x") == "ms-omni: first second\n"


def test_debug_shows_the_traceback_wherever_it_stands(cli, monkeypatch):
    failing(monkeypatch, OmniError("wrong"))
    for argv in (["tiny", "x", "--debug"], ["--debug", "tiny", "x"]):
        result = cli(*argv)
        assert result.code == 2 and "Traceback" in result.err and result.err.endswith("ms-omni: wrong\n")


def test_internal_error_is_one_line_and_one(cli, monkeypatch):
    failing(monkeypatch, ValueError("boom"))
    result = cli("tiny", "x")
    assert result.code == 1
    assert result.err == "ms-omni: internal error: ValueError: boom (run with --debug for the traceback)\n"


def test_a_library_that_does_not_load_points_to_doctor(cli, monkeypatch):
    failing(monkeypatch, ImportError("libgomp.so.1: cannot open shared object file"))
    result = cli("tiny", "x")
    assert result.code == 1 and result.err.startswith("ms-omni: libgomp.so.1: cannot open")
    assert "ms-omni doctor" in result.err and result.err.count("\n") == 1


def test_interrupt(cli, monkeypatch):
    failing(monkeypatch, KeyboardInterrupt())
    result = cli("tiny", "x")
    assert (result.code, result.out, result.err) == (130, "", "ms-omni: interrupted\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_closed_pipe_is_silent(unbuffered):
    words = [sys.executable, "-m", "ms_omni", "doctor", "--json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    writer = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    writer.stdout.close()
    assert (writer.wait(timeout=300), writer.stderr.read()) == (141, b"")


def test_tiny_says_where_and_what(cli, tmp_path):
    result = cli("tiny", tmp_path / "t", "--seed", "3")
    assert result.code == 0 and result.err == ""
    assert str(tmp_path / "t") in result.out and "MB" in result.out and "random weights" in result.out
    assert (tmp_path / "t" / "config.json").is_file()


def test_tiny_refuses_a_directory_of_other_things(user_error, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    assert str(tmp_path) in user_error("tiny", tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "mine"
