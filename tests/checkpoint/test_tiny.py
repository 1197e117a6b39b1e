"""What write_tiny writes: the Hugging Face layout, the same bytes for the same seed, only where it may write."""

import json

import ml_dtypes
import numpy as np
import pytest

from ms_omni import OmniError
from ms_omni.checkpoint.config import read_config, read_generation_config
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.checkpoint.tiny import INDEX, write_tiny
from ms_omni.checkpoint.weight_specs import weight_specs


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_files_of_the_hugging_face_layout(tiny_dir):
    names = {path.name for path in tiny_dir.iterdir()}
    assert {
        "config.json", "generation_config.json", INDEX, "tokenizer.json", "tokenizer_config.json", "vocab.json",
        "merges.txt", "special_tokens_map.json", "preprocessor_config.json", "chat_template.jinja",
    } <= names  # fmt: skip
    assert sum(name.endswith(".safetensors") for name in names) == 2
    assert sum(path.stat().st_size for path in tiny_dir.iterdir()) < 13e6


def test_index_lists_every_weight_and_the_total_size(tiny_dir):
    index = json.loads((tiny_dir / INDEX).read_text())
    reader = CheckpointReader(tiny_dir)
    assert set(index["weight_map"]) == set(reader.names())
    assert index["metadata"]["total_size"] == reader.nbytes


def test_weights_are_those_of_the_configuration(tiny_dir):
    reader = CheckpointReader(tiny_dir)
    expected = {spec.name: spec.shape for spec in weight_specs(read_config(tiny_dir))}
    assert {name: reader.shape(name) for name in reader.names()} == expected
    assert {reader.dtype(name) for name in reader.names()} == {np.dtype("float32")}


def test_every_branch_of_the_model_counts(tiny_dir):
    reader = CheckpointReader(tiny_dir)
    for name in reader.names():
        values = reader.read(name)
        assert np.isfinite(values).all(), name
        assert np.abs(values).mean() > 1e-3, name


def test_same_seed_same_bytes_and_other_seed_other_weights(tiny_dir, tmp_path):
    again = write_tiny(tmp_path / "again")
    other = write_tiny(tmp_path / "other", seed=1)
    assert contents(again) == contents(tiny_dir)
    first, second = CheckpointReader(again), CheckpointReader(other)
    assert first.names() == second.names()
    assert all(not np.array_equal(first.read(name), second.read(name)) for name in first.names())


def test_configuration_holds_together(tiny_dir):
    config = read_config(tiny_dir)
    thinker, talker, code2wav = config.thinker_config, config.talker_config, config.code2wav_config
    assert thinker.audio_config.output_dim == thinker.vision_config.out_hidden_size == thinker.text_config.hidden_size
    assert talker.thinker_hidden_size == thinker.text_config.hidden_size
    # Before the deepstack layers end, mindone and transformers record different hidden states.
    assert len(thinker.vision_config.deepstack_visual_indexes) < talker.accept_hidden_layer
    assert talker.accept_hidden_layer < thinker.text_config.num_hidden_layers
    for text in (thinker.text_config, talker.text_config):
        assert sum(text.rope_scaling["mrope_section"]) == text.head_dim // 2
    assert talker.num_code_groups == talker.code_predictor_config.num_code_groups == code2wav.num_quantizers == 16
    assert talker.text_config.hidden_size == talker.code_predictor_config.hidden_size
    assert np.prod([*code2wav.upsample_rates, *code2wav.upsampling_ratios]) == 1920
    assert talker.speaker_id == {"chelsie": 2301, "ethan": 2302, "aiden": 2303}
    assert read_generation_config(tiny_dir)["eos_token_id"] == config.im_end_token_id


def test_bench_preset_has_the_published_sizes():
    from transformers import Qwen3OmniMoeConfig

    from ms_omni.checkpoint.presets import PRESETS, build_config

    config = Qwen3OmniMoeConfig(**build_config(PRESETS["bench"]))
    text, talker, code2wav = config.thinker_config.text_config, config.talker_config, config.code2wav_config
    assert (text.hidden_size, text.num_hidden_layers, text.num_attention_heads) == (512, 8, 8)
    assert (text.num_key_value_heads, text.head_dim, text.vocab_size) == (2, 64, 8192)
    assert (text.num_experts, text.num_experts_per_tok, text.moe_intermediate_size) == (32, 4, 256)
    assert (talker.text_config.hidden_size, talker.text_config.num_hidden_layers) == (256, 4)
    assert (talker.text_config.num_experts, talker.text_config.num_experts_per_tok) == (16, 4)
    assert (talker.code_predictor_config.num_hidden_layers, talker.code_predictor_config.hidden_size) == (5, 256)
    assert (code2wav.hidden_size, code2wav.decoder_dim, code2wav.num_quantizers) == (256, 384, 16)
    parameters = sum(int(np.prod(spec.shape)) for spec in weight_specs(config))
    assert 150e6 < parameters < 200e6


def test_thinking_variant_has_no_talker(tmp_path):
    directory = write_tiny(tmp_path / "thinking", variant="thinking")
    assert read_config(directory).enable_audio_output is False
    assert "talker_config" not in json.loads((directory / "config.json").read_text())
    assert "talker_max_new_tokens" not in read_generation_config(directory)
    assert all(name.startswith("thinker.") for name in CheckpointReader(directory).names())


@pytest.mark.parametrize(("dtype", "numpy_dtype"), [("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)])
def test_half_precision(tiny_dir, tmp_path, dtype, numpy_dtype):
    directory = write_tiny(tmp_path / dtype, dtype=dtype)
    full, half = CheckpointReader(tiny_dir), CheckpointReader(directory)
    assert half.nbytes * 2 == full.nbytes
    name = "thinker.lm_head.weight"
    np.testing.assert_array_equal(half.read(name), full.read(name).astype(numpy_dtype))


def test_replaces_an_earlier_tiny_checkpoint(tmp_path):
    directory = write_tiny(tmp_path / "tiny")
    # A single file would be read instead of the shards.
    (directory / "model.safetensors").write_bytes(b"")
    (directory / "notes.txt").write_text("mine")
    write_tiny(directory, seed=1, variant="thinking")
    (directory / "notes.txt").unlink()
    assert contents(directory) == contents(write_tiny(tmp_path / "fresh", seed=1, variant="thinking"))


def test_killed_while_replacing_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    directory = write_tiny(tmp_path / "tiny", variant="thinking")
    moved = []

    def killed_after_three(path, destination):
        if len(moved) == 3:
            raise KeyboardInterrupt
        moved.append(path.rename(destination))

    monkeypatch.setattr(type(directory), "replace", killed_after_three)
    with pytest.raises(KeyboardInterrupt):
        write_tiny(directory, seed=1, variant="thinking")
    with pytest.raises(OmniError, match="no config.json there"):
        read_config(directory)


def test_writes_into_the_empty_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CheckpointReader(write_tiny(".", variant="thinking")).names()
    assert not list(tmp_path.glob(".partial*"))


def test_refuses_a_directory_with_something_else(tmp_path):
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(OmniError, match="not empty and not a tiny checkpoint; choose another directory"):
        write_tiny(tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"irreplaceable"}


def test_refuses_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OmniError, match="file: is a file; choose a directory"):
        write_tiny(tmp_path / "file")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "huge"}, "--preset huge: expected one of tiny, bench"),
        ({"variant": "singing"}, "variant singing: expected one of instruct, thinking"),
        ({"dtype": "int8"}, "dtype int8: expected one of float32, float16, bfloat16"),
        ({"seed": -1}, "--seed -1: expected 0 or more"),
    ],
)
def test_refuses_unknown_choices(tmp_path, arguments, message):
    with pytest.raises(OmniError, match=message):
        write_tiny(tmp_path / "new", **arguments)
    assert not any(tmp_path.iterdir())


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    import ms_omni.checkpoint.tiny as tiny

    def disk_full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tiny, "_write_shards", disk_full)
    with pytest.raises(OmniError, match="cannot be written .No space left on device."):
        write_tiny(tmp_path / "new")
    assert not any(tmp_path.iterdir())
