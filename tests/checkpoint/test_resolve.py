"""resolve_checkpoint and the configuration files: local directories, download caches, what is said about the rest."""

import json
import logging

import pytest

from ms_omni import OmniError
from ms_omni.checkpoint.config import read_config, read_generation_config
from ms_omni.checkpoint.resolve import resolve_checkpoint

NAME = "Qwen/Qwen3-Omni-30B-A3B-Instruct"


def make_checkpoint(directory, model_type="qwen3_omni_moe"):
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"model_type": model_type}))
    return directory


@pytest.fixture(autouse=True)
def empty_caches(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms"))
    monkeypatch.chdir(tmp_path)


def hugging_face_snapshot(tmp_path, commit="0123abc"):
    repository = tmp_path / "hf" / "models--Qwen--Qwen3-Omni-30B-A3B-Instruct"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    return repository / "snapshots" / commit


def test_local_directory(tmp_path):
    directory = make_checkpoint(tmp_path / "mine")
    assert resolve_checkpoint(str(directory)) == directory
    assert resolve_checkpoint(directory) == directory


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_checkpoint("~/mine" if make_checkpoint(tmp_path / "mine") else "") == tmp_path / "mine"


def test_hugging_face_cache(tmp_path):
    snapshot = make_checkpoint(hugging_face_snapshot(tmp_path))
    make_checkpoint(snapshot.parent / "older")
    assert resolve_checkpoint(NAME) == snapshot


@pytest.mark.parametrize("place", ["models/Qwen/Qwen3-Omni-30B-A3B-Instruct", "hub/Qwen/Qwen3-Omni-30B-A3B-Instruct"])
def test_modelscope_cache(tmp_path, place):
    directory = make_checkpoint(tmp_path / "ms" / place)
    assert resolve_checkpoint(NAME) == directory


def test_modelscope_writes_dots_differently(tmp_path):
    directory = make_checkpoint(tmp_path / "ms" / "hub" / "models" / "Qwen" / "Qwen3___5-Omni")
    assert resolve_checkpoint("Qwen/Qwen3.5-Omni") == directory


def test_local_directory_comes_before_the_cache(tmp_path):
    make_checkpoint(hugging_face_snapshot(tmp_path))
    make_checkpoint(tmp_path / NAME)
    assert resolve_checkpoint(NAME).resolve() == tmp_path / NAME


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (NAME, f"{NAME}: no such directory, and not in the local hub cache; download it with 'hf download {NAME}'"),
        ("/nowhere/at/all", "--model /nowhere/at/all: no such directory; built-in is the tiny model of this package$"),
        ("./Qwen/absent", "--model ./Qwen/absent: no such directory; built-in is the tiny model of this package$"),
        ("typo", "--model typo: no such directory; built-in is the tiny model of this package$"),
    ],
)
def test_nothing_there(name, message):
    with pytest.raises(OmniError, match=message):
        resolve_checkpoint(name)


def test_unfinished_download(tmp_path):
    hugging_face_snapshot(tmp_path).mkdir(parents=True)
    with pytest.raises(OmniError, match="no config.json there"):
        resolve_checkpoint(NAME)


def test_no_config(tmp_path):
    with pytest.raises(OmniError, match="no config.json there; give a Qwen3-Omni checkpoint directory"):
        resolve_checkpoint(tmp_path)


def test_a_file(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(OmniError, match="model.safetensors: is a file; give the checkpoint's directory"):
        resolve_checkpoint(tmp_path / "model.safetensors")


def test_another_model(tmp_path):
    with pytest.raises(OmniError, match="model_type in config.json is 'qwen3_vl'; expected 'qwen3_omni_moe'"):
        resolve_checkpoint(make_checkpoint(tmp_path / "vl", "qwen3_vl"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "config.json: not valid JSON"),
        ("[]", "config.json: expected a JSON object, got list"),
        ('{"model_type": "qwen3_omni_moe", "thinker_config": [1]}', "config.json: not a valid config"),
    ],
)
def test_broken_config(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(OmniError, match=message):
        read_config(tmp_path)


def test_config_is_read_quietly(tiny_dir):
    """transformers would warn four times about mrope_section, which every Qwen3-Omni has."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        assert read_config(tiny_dir).thinker_config.text_config.hidden_size == 64
    finally:
        logger.removeHandler(handler)
    assert messages == []


def test_generation_config(tmp_path, tiny_dir):
    assert read_generation_config(tmp_path) == {}
    assert read_generation_config(tiny_dir)["thinker_max_new_tokens"] == 48
    (tmp_path / "generation_config.json").write_text("do_sample: true")
    with pytest.raises(OmniError, match="generation_config.json: not valid JSON"):
        read_generation_config(tmp_path)
