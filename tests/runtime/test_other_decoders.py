"""Decoders that the released model has not, but its configuration can describe: dense layers, biases, other sizes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ms_omni import OmniEngine, OmniError, SamplingParams
from ms_omni.checkpoint.config import read_config
from ms_omni.runtime.decoder_spec import DecoderSpec

sys.path.insert(0, str(Path(__file__).parents[1] / "reference"))
from reference_checkpoints import CHECKPOINTS, CheckpointSpec, build_checkpoint

GREEDY = SamplingParams(thinker_max_new_tokens=6, talker_max_new_tokens=3, talker_temperature=0.0)
HELLO = [{"role": "user", "content": "Hello there, what is this?"}]
EDITS = {
    "thinker_config.text_config.mlp_only_layers": [1],
    "thinker_config.text_config.intermediate_size": 80,
    "thinker_config.text_config.attention_bias": True,
    "thinker_config.text_config.num_experts_per_tok": 3,
    "talker_config.text_config.decoder_sparse_step": 2,  # which the Talker's classes pass over
    "talker_config.text_config.norm_topk_prob": False,
    "talker_config.code_predictor_config.attention_bias": True,
}


@pytest.fixture(scope="module")
def unusual(tmp_path_factory, cpu):
    CHECKPOINTS["unusual"] = CheckpointSpec(seed=21, edits=EDITS)
    directory = build_checkpoint("unusual", tmp_path_factory.mktemp("checkpoints") / "unusual")
    weights = load_file(directory / "model.safetensors")
    rng = np.random.default_rng(0)
    for prefix, config, dense in _parts(read_config(directory)):
        width, size = config.hidden_size, config.intermediate_size
        heads, kv_heads = (n * config.head_dim for n in (config.num_attention_heads, config.num_key_value_heads))
        shapes = {}
        for layer in dense:
            for name, shape in (("gate_proj", (size, width)), ("up_proj", (size, width)), ("down_proj", (width, size))):
                shapes[f"{prefix}layers.{layer}.mlp.{name}.weight"] = shape
        if config.attention_bias:
            for layer in range(config.num_hidden_layers):
                for name, length in (("q", heads), ("k", kv_heads), ("v", kv_heads), ("o", width)):
                    shapes[f"{prefix}layers.{layer}.self_attn.{name}_proj.bias"] = (length,)
        weights |= {
            name: (rng.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)
            for name, shape in shapes.items()
            if name not in weights
        }
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def _parts(config):
    thinker, talker = config.thinker_config.text_config, config.talker_config
    yield "thinker.model.", thinker, [1]
    yield "talker.model.", talker.text_config, []
    yield "talker.code_predictor.model.", talker.code_predictor_config, []


def test_same_answer_as_mindone(unusual):
    outs = [
        OmniEngine.from_pretrained(unusual, engine=name, device="CPU").generate(HELLO, sampling=GREEDY)
        for name in ("fused", "mindone")
    ]
    assert outs[0].token_ids == outs[1].token_ids
    np.testing.assert_array_equal(outs[0].audio.codes, outs[1].audio.codes)


def test_unknown_activation_names_the_other_engine(tiny_dir, tmp_path, cpu):
    config = json.loads((tiny_dir / "config.json").read_text())
    config["thinker_config"]["text_config"]["hidden_act"] = "gelu"
    for file in tiny_dir.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(OmniError, match="--engine fused: thinker.model: activation gelu.*use --engine mindone"):
        OmniEngine.from_pretrained(tmp_path, engine="fused", device="CPU")
    with pytest.raises(OmniError, match="activation gelu.*; --engine mindone may know it, but has no 8-bit weights"):
        OmniEngine.from_pretrained(tmp_path, device="CPU", quantize="int8")
    fallen_back = OmniEngine.from_pretrained(tmp_path, device="CPU")
    assert type(fallen_back.executor).__name__ == "MindoneExecutor"


def test_angles_interleave_the_axes():
    spec = DecoderSpec(8, 1, 1, 1, 16, 1e-6, 10.0, mrope_section=(4, 2, 2))
    positions = np.array([[1.0], [10.0], [100.0]])
    got = spec.angles(positions)[0] / np.tile(spec.inv_freq, 2)
    # time, height, width, time, height, width, time, time (sections of 2 end after 3 * 2 angles)
    np.testing.assert_allclose(got, np.tile([1, 10, 100, 1, 10, 100, 1, 1], 2), rtol=1e-6)
    np.testing.assert_allclose(spec.angles(np.array([3.0]))[0], np.tile(3 * spec.inv_freq, 2), rtol=1e-6)


def test_sections_that_a_config_does_not_name_are_those_of_transformers(tiny_dir):
    config = read_config(tiny_dir).thinker_config.text_config
    assert DecoderSpec.from_config(config).mrope_section == tuple(config.rope_scaling["mrope_section"])
    config.rope_scaling = {"rope_type": "default"}
    assert DecoderSpec.from_config(config).mrope_section == (24, 20, 20)
