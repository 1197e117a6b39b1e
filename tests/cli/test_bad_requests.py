"""Every wrong request that can be seen early fails in one line, before the fake_engine, and writes nothing."""

import json
import os
import shutil
from pathlib import Path

import pytest

import ms_omni

pytestmark = pytest.mark.usefixtures("no_engine")

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def answer(user_error, tiny_dir):
    """answer(*flags) -> the error line of `understand` on the tiny checkpoint."""
    return lambda *flags: user_error("understand", "--model", tiny_dir, *flags)


def test_nothing_to_answer(answer):
    assert "--conversation" in answer() and "--text" in answer()


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_text(answer, text):
    assert "--text: is empty; expected a question" in answer("--text", text)


def test_two_prompts(answer):
    line = answer("--conversation", "c.json", "--image", "a.png")
    assert "--conversation and --image exclude each other" in line


def test_stream_and_json(answer):
    line = answer("--text", "Hi", "--stream", "--json")
    assert "--stream" in line and "--json" in line


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ({"role": "user"}, ["list of messages"]),
        ([{"role": "robot", "content": "Hi"}], ["'robot'", "system, user, assistant"]),
        ([{"role": "user", "content": [{"type": "smell", "smell": "x"}]}], ["'smell'", "text, image, audio, video"]),
        ([{"role": "user", "content": [{"type": "image", "image": "gone.png"}]}], ["gone.png", "no such file"]),
    ],
)
def test_bad_conversation_files(answer, tmp_path, content, parts):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    line = answer("--conversation", path)
    assert all(part in line for part in parts), line


def test_conversation_file_is_missing_or_not_json(answer, tmp_path):
    assert "gone.json" in answer("--conversation", "gone.json")
    (tmp_path / "c.json").write_text("[{")
    assert "not valid JSON" in answer("--conversation", tmp_path / "c.json")


@pytest.mark.parametrize("kind", ["image", "audio", "video"])
def test_missing_and_empty_media(answer, tmp_path, kind):
    (tmp_path / "empty.bin").touch()
    assert f"{kind} {tmp_path / 'gone.bin'}: no such file" in answer(f"--{kind}", tmp_path / "gone.bin")
    assert "is empty" in answer(f"--{kind}", f"file://{tmp_path / 'empty.bin'}")
    assert "is a directory" in answer(f"--{kind}", tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "size"),
    [("image", "shapes.png", 500), ("audio", "question.wav", 9000), ("video", "ball.mp4", 9000)],
)
def test_media_cut_short(answer, tmp_path, kind, name, size):
    whole = Path(ms_omni.__file__).parent / "assets" / name
    (tmp_path / name).write_bytes(whole.read_bytes()[:size])
    line = answer(f"--{kind}", tmp_path / name)
    assert f"{kind} {tmp_path / name}" in line and "truncated" in line


def test_sound_of_a_silent_video(answer, fake_engine, cli, tiny_dir):
    silent = Path(__file__).parents[1] / "reference" / "media" / "silent.mp4"
    line = answer("--video", silent, "--use-audio-in-video")
    assert str(silent) in line and "no audio track" in line
    assert cli("understand", "--model", tiny_dir, "--video", silent).code == 0


def test_no_picture_at_all(answer, tmp_path):
    (tmp_path / "a.png").write_text("hello")
    assert f"image {tmp_path / 'a.png'}" in answer("--image", tmp_path / "a.png")


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("--thinker-max-new-tokens", "0", "from 1 to 1048576"),
        ("--thinker-top-p", "1.5", "from 0 to 1"),
        ("--talker-temperature", "-0.5", "from 0"),
        ("--seed", "-1", "from 0"),
    ],
)
def test_numbers_out_of_range(answer, flag, value, allowed):
    line = answer("--text", "Hi", flag, value)
    assert flag in line and value in line and allowed in line


def test_pixels_in_the_wrong_order(answer):
    assert "--min-pixels 20 is above --max-pixels 10" in answer("--text", "Hi", "--min-pixels", 20, "--max-pixels", 10)


def test_unknown_speaker(answer):
    line = answer("--text", "Hi", "--speaker", "Etan")
    assert "--speaker Etan" in line and "did you mean ethan?" in line
    assert all(name in line for name in ("aiden", "chelsie", "ethan"))


def test_speech_from_a_checkpoint_without_a_talker(user_error, silent_dir, tmp_path):
    line = user_error("understand", "--model", silent_dir, "--text", "Hi", "--audio-out", tmp_path / "a.wav")
    assert "--audio-out" in line and "no Talker" in line and list(tmp_path.iterdir()) == []


def test_checkpoint_that_is_none(user_error, tmp_path):
    assert "config.json" in user_error("understand", "--model", tmp_path, "--text", "Hi")
    assert "gone" in user_error("understand", "--model", tmp_path / "gone", "--text", "Hi")


def test_checkpoint_with_a_shard_missing(user_error, tiny_dir, tmp_path):
    shutil.copytree(tiny_dir, tmp_path / "broken")
    (tmp_path / "broken" / "model-00002-of-00002.safetensors").unlink()
    line = user_error("understand", "--model", tmp_path / "broken", "--text", "Hi")
    assert "model-00002-of-00002.safetensors" in line


def test_checkpoint_with_a_broken_config(user_error, tiny_dir, tmp_path):
    shutil.copytree(tiny_dir, tmp_path / "broken")
    (tmp_path / "broken" / "config.json").write_text("{")
    assert "config.json" in user_error("understand", "--model", tmp_path / "broken", "--text", "Hi")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.mp3", "ends with .wav"), ("gone/a.wav", "does not exist"), ("dir.wav", "is a directory")],
)
def test_audio_out_names(answer, tmp_path, name, reason):
    (tmp_path / "dir.wav").mkdir()
    line = answer("--text", "Hi", "--audio-out", tmp_path / name)
    assert f"--audio-out {tmp_path / name}" in line and reason in line
    assert [file.name for file in tmp_path.iterdir()] == ["dir.wav"]


def test_audio_out_in_a_directory_that_refuses(answer, tmp_path):
    place = "/proc" if os.geteuid() == 0 else tmp_path
    tmp_path.chmod(0o500)
    assert f"cannot write in {place}" in answer("--text", "Hi", "--audio-out", f"{place}/a.wav")
