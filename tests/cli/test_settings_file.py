"""`--config`: YAML below the command line, with the flags' own checks."""

from pathlib import Path

import pytest

from ms_omni.cli.settings import read_settings

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture
def yaml_file(tmp_path):
    def write(text):
        path = tmp_path / "settings.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_presets_parse(path):
    assert read_settings(str(path), "understand")


def test_values_arrive_typed(yaml_file):
    path = yaml_file(
        "seed: 3\nthinker_temperature: 1e-3\nignore_eos: true\nstream: false\nimage: [a.png, b.png]\nfps:\n"
    )
    assert read_settings(str(path), "understand") == {
        "seed": 3, "thinker_temperature": 0.001, "ignore_eos": True, "stream": False, "image": ["a.png", "b.png"],
    }  # fmt: skip


def test_command_line_wins(cli, fake_engine, tiny_dir, yaml_file):
    path = yaml_file(f"model: {tiny_dir}\nseed: 3\nthinker_top_k: 4\nignore_eos: true\ntext: from the file\n")
    words = ["--config", path, "--seed", "5", "--no-ignore-eos", "--text", "from the flag"]
    assert cli("understand", *words).code == 0
    sampling = fake_engine.asked["sampling"]
    assert (sampling.seed, sampling.thinker_top_k, sampling.ignore_eos) == (5, 4, False)
    assert fake_engine.asked["conversation"][0]["content"] == [{"type": "text", "text": "from the flag"}]


def test_a_prompt_on_the_command_line_replaces_that_of_the_file(cli, fake_engine, tiny_dir, yaml_file):
    path = yaml_file("conversation: nowhere.json\n")
    assert cli("understand", "--model", tiny_dir, "--config", path, "--text", "Hi").code == 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sede: 1", ["'sede'", "allowed:", "seed"]),
        ("thinker-temperature: 0", ["'thinker-temperature', did you mean thinker_temperature?", "allowed:"]),
        ("1: 2", ["unknown key '1'; allowed:"]),
        ("config: other.yaml", ["'config'"]),
        ("debug: true", ["'debug'"]),
        ("seed: many", ["--seed: 'many'", "whole number"]),
        ("seed: true", ["seed: True", "single value"]),
        ("seed: [1, 2]", ["seed: [1, 2]", "single value"]),
        ("ignore_eos: 1", ["ignore_eos: 1", "true or false"]),
        ("image: {a: b}", ["image:", "list of texts"]),
        ("device: cpu", ["--device: 'cpu'", "auto, CPU, Ascend"]),
        ("- seed", ["mapping"]),
        ("seed: [", ["not valid YAML (line 1 column 8: "]),
        ("seed: 1\n\ntext: a: b\n", ["not valid YAML (line 3 column 8: mapping values are not allowed here)"]),
        ("seed: 1\n\tfps: 2\n", ["not valid YAML (line 2 column 1: "]),
        ("seed: !!python/none x", ["not valid YAML (line 1 column 7: "]),
        ("text: \x07", ["not valid YAML (unacceptable character #x0007"]),
        ("seed: 2026-99-99", ["not valid YAML (month must be in 1..12)"]),
        ("- " * 10000, ["nested too deeply"]),
    ],
)
def test_bad_files(user_error, no_engine, tiny_dir, yaml_file, text, parts):
    path = yaml_file(text)
    line = user_error("understand", "--model", tiny_dir, "--text", "Hi", "--config", path)
    assert f"--config {path}" in line and all(part in line for part in parts), line


def test_missing_file(user_error, no_engine):
    assert "--config none.yaml: cannot be read" in user_error("understand", "--config", "none.yaml")
