"""`ms-omni quantize`, and what other commands say of the checkpoints that it writes."""

import json
import shutil

import pytest

from ms_omni.checkpoint.quantize import quantize_checkpoint
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.cli import quantize
from ms_omni.profiling.environment import model

# Thinker: 4 layers of 4 projections and 8 experts of 3. Talker: 2 layers of as many, and a shared expert. Code
# predictor: 2 layers of 4 and 3.
WEIGHTS = 4 * (4 + 8 * 3) + 2 * (4 + 8 * 3 + 3) + 2 * (4 + 3)


@pytest.fixture(scope="module")
def int8_dir(tiny_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("int8") / "tiny"
    quantize_checkpoint(tiny_dir, out)
    return out


def test_one_line_of_what_was_written(cli, tiny_dir, tmp_path):
    result = cli("quantize", "--model", tiny_dir, "--out", tmp_path / "out")
    assert result.code == 0 and result.err == ""
    before, after = (CheckpointReader(each).nbytes / 1e6 for each in (tiny_dir, tmp_path / "out"))
    expected = f"{tmp_path / 'out'}: {WEIGHTS} weights in 8 bits; {after:.1f} MB in 1 file, before {before:.1f} MB\n"
    assert result.out == expected and after < before


def test_json(cli, tiny_dir, tmp_path):
    result = cli("quantize", "--model", tiny_dir, "--out", tmp_path / "out", "--json")
    document = json.loads(result.out)
    assert document == {
        "out": str(tmp_path / "out"),
        "num_int8": WEIGHTS,
        "num_shards": 1,
        "source_bytes": CheckpointReader(tiny_dir).nbytes,
        "num_bytes": CheckpointReader(tmp_path / "out").nbytes,
    }


def test_mistakes_are_one_line(user_error, tiny_dir, int8_dir, tmp_path):
    assert "--model nowhere: no such directory" in user_error("quantize", "--model", "nowhere", "--out", tmp_path)
    assert "is not empty" in user_error("quantize", "--model", tiny_dir, "--out", int8_dir)
    assert "int8 already" in user_error("quantize", "--model", int8_dir, "--out", tmp_path / "x")
    assert "missing: --out" in user_error("quantize", "--model", tiny_dir)


def test_an_interrupt_says_that_it_goes_on(cli, tiny_dir, tmp_path, monkeypatch):
    class Progress:
        def __call__(self, stage, done, total):
            raise KeyboardInterrupt

        def close(self):
            pass

    monkeypatch.setattr("ms_omni.cli.progress.make_progress", Progress)
    result = cli("quantize", "--model", tiny_dir, "--out", tmp_path / "out")
    assert result.code == 130 and result.err.startswith("ms-omni: interrupted; the same command goes on where")
    words = f"--model {tmp_path / 'out'}: ms-omni quantize has not finished it; the same command goes on\n"
    assert cli("understand", "--model", tmp_path / "out", "--text", "Hi").err.endswith(words)
    monkeypatch.undo()
    assert cli("quantize", "--model", tiny_dir, "--out", tmp_path / "out").code == 0


def test_progress_has_a_name(cli, tiny_dir, tmp_path, monkeypatch):
    from ms_omni.cli.progress import LogProgress

    monkeypatch.setattr("ms_omni.cli.progress.make_progress", lambda: LogProgress(interval_s=0))
    result = cli("quantize", "--model", tiny_dir, "--out", tmp_path / "out")
    count = len(CheckpointReader(tmp_path / "out").names())
    assert result.err.splitlines()[-1] == f"ms-omni: rounding: {count} of {count} weights"


@pytest.mark.parametrize("command", [["understand", "--text", "Hi"], ["batch", "--manifest", "M", "--out", "O"]])
def test_flags_that_do_not_go_with_int8_weights(user_error, int8_dir, tmp_path, command):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"text": "Hi"}')
    words = [{"M": manifest, "O": tmp_path / "out"}.get(word, word) for word in command]
    refused = user_error(*words, "--model", int8_dir, "--quantize", "none")
    assert f"--quantize none: the weights of --model {int8_dir} are int8 already; use auto or int8" in refused
    refused = user_error(*words, "--model", int8_dir, "--engine", "mindone")
    assert f"--engine mindone: cannot read the 8-bit weights of --model {int8_dir}; use fused" in refused


def test_a_comparison_with_mindone_needs_float_weights(user_error, int8_dir):
    refused = user_error("profile", "--model", int8_dir, "--compare", "mindone,fused")
    assert f"--engine mindone: cannot read the 8-bit weights of --model {int8_dir}; use fused" in refused


def test_faults_of_a_checkpoint_are_said_before_anything_is_loaded(user_error, int8_dir, tmp_path):
    broken = shutil.copytree(int8_dir, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    config["quantization_config"]["quant_method"] = "gptq"
    (broken / "config.json").write_text(json.dumps(config))
    assert "quant_method 'gptq'; what loads is" in user_error("understand", "--model", broken, "--text", "Hi")
    assert "quant_method 'gptq'; what loads is" in user_error("doctor", "--model", broken)
    del config["quantization_config"]
    (broken / "config.json").write_text(json.dumps(config))
    assert "no quantization_config that says how" in user_error("understand", "--model", broken, "--text", "Hi")


def test_understand_takes_it(cli, fake_engine, int8_dir):
    assert cli("understand", "--model", int8_dir, "--text", "Hi").code == 0
    assert fake_engine.loaded["model"] == str(int8_dir)


def test_doctor_says_it(cli, tiny_dir, int8_dir):
    found = {each: json.loads(cli("doctor", "--model", each, "--json").out) for each in (tiny_dir, int8_dir)}
    assert [each["checkpoint"]["quantization"] for each in found.values()] == ["none", "int8"]
    lines = [cli("doctor", "--model", each).out for each in (tiny_dir, int8_dir)]
    assert ["weights of its decoder layers are int8" in each for each in lines] == [False, True]


def test_plan_and_profile_read_it(cli, tiny_dir, int8_dir):
    assert cli("plan", "--model", int8_dir, "--cards", "1").code == 0
    assert model(int8_dir).parameters == model(tiny_dir).parameters > 0


def test_help(cli):
    assert cli("quantize", "--help").out.startswith(f"usage: {quantize.USAGE}")
