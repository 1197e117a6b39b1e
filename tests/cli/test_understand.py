"""`understand`: what reaches the fake_engine, what is printed where, and the wave."""

import io
import json
import re
import sys

import numpy as np
import pytest
import soundfile
from fake_terminal import Terminal
from PIL import Image

from ms_omni.checkpoint import built_in
from ms_omni.cli.commands import command_parser
from ms_omni.cli.settings import yaml_keys
from ms_omni.config import EngineConfig, SamplingParams
from ms_omni.errors import OmniError
from ms_omni.inputs.access import MediaAccess
from ms_omni.outputs import StreamEnd, TextDelta
from ms_omni.parallel.world import World


def test_text_goes_to_stdout_alone(cli, fake_engine, tiny_dir):
    result = cli("understand", "--model", tiny_dir, "--text", "Hi")
    assert (result.code, result.out, result.err) == (0, "Hello wörld\n", "")


def test_without_audio_out_the_talker_is_not_loaded(cli, fake_engine, tiny_dir):
    cli("understand", "--model", tiny_dir, "--text", "Hi")
    assert fake_engine.loaded["with_talker"] is False and fake_engine.asked["return_audio"] is False


def test_every_flag_reaches_its_stage(cli, fake_engine, tiny_dir, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    sampling = {
        "thinker_max_new_tokens": 5, "thinker_temperature": 0.5, "thinker_top_p": 0.6, "thinker_top_k": 7,
        "thinker_repetition_penalty": 1.2,
        "talker_max_new_tokens": 8, "talker_temperature": 0.1, "talker_top_p": 0.2, "talker_top_k": 9,
        "talker_repetition_penalty": 1.5, "seed": 10,
    }  # fmt: skip
    engine_flags = {
        "engine": "fused",
        "parallel": "none",
        "device": "CPU",
        "dtype": "float32",
        "media_reader": "ms_omni",
        "compile_cache": "somewhere",
    }
    words = [f"--{key.replace('_', '-')}={value}" for key, value in {**sampling, **engine_flags}.items()]
    words += ["--attn-implementation=eager", "--min-pixels=11", "--max-pixels=12", "--fps=1.5", "--ignore-eos"]
    words += ["--use-audio-in-video", "--speaker=Aiden", "--system=Be brief", f"--audio-out={tmp_path / 'a.wav'}"]
    result = cli("understand", "--model", tiny_dir, "--text", "Hi", "--image", tmp_path / "a.png", *words)
    assert result.code == 0, result.err
    assert fake_engine.loaded == {
        "model": str(tiny_dir), **engine_flags, "attn_implementation": "eager",
        "min_pixels": 11, "max_pixels": 12, "with_talker": True, "max_num_seqs": None, "max_model_len": None,
        "warm_up": False, "launch_capture": "none", "quantize": "auto", "media_access": MediaAccess(),
    }  # fmt: skip
    asked = {key: value for key, value in fake_engine.asked.items() if key != "progress"}
    assert asked == {
        "conversation": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief"}]},
            {
                "role": "user",
                "content": [{"type": "image", "image": str(tmp_path / "a.png")}, {"type": "text", "text": "Hi"}],
            },
        ],
        "return_audio": True, "speaker": "Aiden", "use_audio_in_video": True, "fps": 1.5,
        "sampling": SamplingParams(**sampling, ignore_eos=True),
    }  # fmt: skip


def test_every_setting_has_a_flag():
    fields = {*SamplingParams.__dataclass_fields__, *EngineConfig.__dataclass_fields__} - {
        "with_talker",
        "warm_up",
        "media_access",
    }
    assert fields - {"max_num_seqs", "max_model_len"} <= yaml_keys("understand")  # of those who answer many


def test_json_document(cli, fake_engine, tiny_dir, tmp_path):
    wave = tmp_path / "a.wav"
    result = cli("understand", "--model", tiny_dir, "--text", "Hi", "--json", "--audio-out", wave)
    assert result.code == 0 and result.out.count("\n") == 1
    assert json.loads(result.out) == {
        "text": "Hello wörld",
        "token_ids": [1, 2, 3],
        "finish_reason": "stop",
        "audio": {
            "path": str(wave), "sample_rate": 24000, "num_samples": 3285, "num_frames": 2, "finish_reason": "stop",
        },
        "usage": {
            "prompt_tokens": 9, "completion_tokens": 3, "image_tokens": 0, "audio_tokens": 0, "video_tokens": 0,
        },
        "stats": {"thinker_s": 0.5},
    }  # fmt: skip


def test_json_without_speech_has_null_audio(cli, fake_engine, tiny_dir):
    assert json.loads(cli("understand", "--model", tiny_dir, "--text", "Hi", "--json").out)["audio"] is None


def test_stream_prints_each_delta_at_once(cli, fake_engine, tiny_dir, monkeypatch):
    writes = []
    stdout = io.StringIO()
    stdout.write = writes.append
    stdout.flush = lambda: writes.append("|")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert cli("understand", "--model", tiny_dir, "--text", "Hi", "--stream").code == 0
    assert "".join(writes).strip("|") == "Hello |wörld|\n"


def test_stream_on_a_terminal_keeps_bars_out_of_the_text(cli, fake_engine, tiny_dir, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")

    def stream(self, conversation, progress, **options):
        yield TextDelta("Hello ", (1,))
        progress("thinker", 1, 2)
        yield TextDelta("world", (2,))
        progress("talker", 1, 2)
        yield StreamEnd(self._output(False))

    fake_engine.stream = stream
    assert cli("understand", "--model", tiny_dir, "--text", "Hi", "--stream").code == 0
    assert "Hello world\n" in screen.getvalue() and "speaking" in screen.getvalue().split("world\n")[1]


def test_a_rank_that_is_watched_keeps_progress_out_of_the_text(cli, fake_engine, monkeypatch):
    monkeypatch.setenv("MS_OMNI_PROGRESS_S", "0")

    def stream(self, conversation, progress, **options):
        yield TextDelta("Hello", (1,))
        progress("thinker", 1, 2)
        progress("talker", 1, 2)
        yield StreamEnd(self._output(False))

    fake_engine.stream = stream
    result = cli("understand", "--text", "Hi", "--stream")
    assert result.code == 0 and "thinking" not in result.err and "speaking: 1 of 2" in result.err


def test_stream_with_speech_writes_the_wave(cli, fake_engine, tiny_dir, tmp_path):
    result = cli("understand", "--model", tiny_dir, "--text", "Hi", "--stream", "--audio-out", tmp_path / "a.wav")
    assert (result.code, result.out) == (0, "Hello wörld\n") and (tmp_path / "a.wav").is_file()


def test_wave_is_24_khz_mono_and_keeps_the_samples(cli, fake_engine, tiny_dir, tmp_path):
    (tmp_path / "a.wav").write_text("an older answer")
    assert cli("understand", "--model", tiny_dir, "--text", "Hi", "--audio-out", tmp_path / "a.wav").code == 0
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.channels, info.subtype) == (24000, 1, "PCM_24")
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_allclose(samples, np.linspace(-1, 1, 3285), atol=1e-6)
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("failure", [OmniError("no"), RuntimeError("no"), KeyboardInterrupt()])
def test_a_failed_run_leaves_no_wave(cli, fake_engine, tiny_dir, tmp_path, failure):
    fake_engine.failure = failure
    assert cli("understand", "--model", tiny_dir, "--text", "Hi", "--audio-out", tmp_path / "a.wav").code != 0
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_no_partial_wave(cli, fake_engine, tiny_dir, tmp_path, monkeypatch):
    def fill_up(file, *args, **kwargs):
        file.write_bytes(b"RIFF")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile, "write", fill_up)
    result = cli("understand", "--model", tiny_dir, "--text", "Hi", "--audio-out", tmp_path / "a.wav")
    assert result.code == 2 and "No space left" in result.err and list(tmp_path.iterdir()) == []
    assert result.out == "Hello wörld\n"  # the text is not lost with the wave


def test_cut_speech_and_text_are_announced(cli, fake_engine, tiny_dir, tmp_path):
    fake_engine.text_reason = fake_engine.speech_reason = "length"
    words = ["understand", "--model", tiny_dir, "--text", "Hi", "--audio-out", tmp_path / "a.wav"]
    lines = cli(*words).err.splitlines()
    assert len(lines) == 2
    assert re.search(r"note: .* 3 tokens; raise --thinker-max-new-tokens", lines[0])
    assert re.search(r"warning: speech .* 2 frames .*raise --talker-max-new-tokens", lines[1])
    assert cli(*words, "--ignore-eos").err == ""


def test_conversation_from_stdin(cli, fake_engine, tiny_dir, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO('[{"role": "user", "content": "Hi"}]'))
    assert cli("understand", "--model", tiny_dir, "--conversation", "-").code == 0
    assert fake_engine.asked["conversation"] == [{"role": "user", "content": "Hi"}]


def test_flags_that_are_not_given_are_unset():
    for command, always in (("understand", {}), ("batch", {"restart": False}), ("profile", {}), ("serve", {})):
        assert vars(command_parser(command).parse_args([])) == always


@pytest.mark.parametrize("flags", [(), ("--json",), ("--stream",)])
def test_only_rank_0_prints_and_writes(cli, fake_engine, tiny_dir, tmp_path, flags):
    fake_engine.world = World(rank=1, world_size=2, group_size=2)
    wave = tmp_path / "a.wav"
    result = cli("understand", "--model", tiny_dir, "--text", "Hi", "--audio-out", wave, *flags)
    assert (result.code, result.out) == (0, "") and not wave.exists()


def test_without_a_model_the_built_in_one_answers(cli, fake_engine):
    for words in ((), ("--model", "built-in")):
        result = cli("understand", "--text", "Hi", *words)
        assert result.code == 0 and fake_engine.loaded["model"] == str(built_in.DIRECTORY)
        assert f"ms-omni: {built_in.WHAT_IT_IS}\n" in result.err


def test_the_cards_of_a_job_share_the_model_by_default(cli, fake_engine):
    assert cli("understand", "--text", "Hi").code == 0 and fake_engine.loaded["parallel"] == "auto"
    assert cli("understand", "--text", "Hi", "--parallel", "none").code == 0
    assert fake_engine.loaded["parallel"] == "none"


def test_the_usual_name_of_the_maximum_is_the_thinkers(cli, fake_engine):
    assert cli("understand", "--text", "Hi", "--max-new-tokens", "5").code == 0
    assert fake_engine.asked["sampling"].thinker_max_new_tokens == 5


def test_a_closed_pipe_closes_the_stream(cli, fake_engine, monkeypatch):
    """Else the thread that answers would outlive the interpreter, which aborts."""
    streams = []

    def text():
        yield TextDelta("Hello", (1,))

    def stream(self, conversation, **options):
        streams.append(text())
        return streams[0]

    def refuse(text):
        raise BrokenPipeError

    fake_engine.stream = stream
    stdout = io.StringIO()
    stdout.write = refuse
    monkeypatch.setattr(sys, "stdout", stdout)
    assert cli("understand", "--text", "Hi", "--stream").code == 141
    assert streams[0].gi_frame is None
