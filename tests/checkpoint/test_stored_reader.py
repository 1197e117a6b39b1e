"""Checkpoints stored in 8 bits read as float ones do that are rounded; those that differ are refused by name."""

import copy
import json
import logging
import re
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import stored_checkpoint as stored

from ms_omni.checkpoint.compressed import checkpoint_quantization, resolve_quantize
from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.int8 import is_quantized, rounded, row_scales
from ms_omni.checkpoint.int8_reader import Int8Reader
from ms_omni.checkpoint.presets import PRESETS
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.checkpoint.stored_reader import StoredReader, open_checkpoint
from ms_omni.checkpoint.tiny import write_tiny
from ms_omni.errors import OmniError
from ms_omni.parallel.shards import ShardedReader
from ms_omni.parallel.sizes import ModelSizes
from ms_omni.parallel.world import World

HEAD, ENCODER = stored.FOREIGN
Q = "thinker.model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def odd_dir(tmp_path_factory):
    """Another seed, half precision, no Talker, and matrices whose columns are no multiple of four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "odd", replace(PRESETS["tiny"], moe_intermediate=30, num_experts=5))
        return write_tiny(tmp_path_factory.mktemp("odd") / "odd", "odd", 7, "thinking", "bfloat16")


@pytest.fixture(scope="module", params=["int-quantized", "naive-quantized", "pack-quantized"])
def fmt(request):
    return request.param


@pytest.fixture(scope="module", params=["tiny", "odd"])
def pair(request, tiny_dir, odd_dir, fmt, tmp_path_factory):
    """A float checkpoint, and the same one stored in 8 bits."""
    source = {"tiny": tiny_dir, "odd": odd_dir}[request.param]
    target = tmp_path_factory.mktemp("stored") / "model"
    return source, stored.write(source, target, stored.arrays_of(source, fmt), stored.config_of(fmt))


def test_reads_as_the_rounded_float_checkpoint(pair):
    source, target = pair
    expected, got = Int8Reader(CheckpointReader(source)), Int8Reader(open_checkpoint(target))
    assert sorted(got.names()) == sorted(expected.names()) and len(set(got.names())) == len(got.names())
    assert all(name in got for name in expected.names())
    for name in set(expected.names()) - set(stored.FOREIGN):
        one, other = expected.read(name), got.read(name)
        assert (got.dtype(name), got.shape(name)) == (other.dtype, other.shape) == (one.dtype, one.shape), name
        assert one.tobytes() == other.tobytes(), name
        index = (slice(1, 7), slice(1, 3)) if one.ndim == 2 else (slice(0, 2),)
        assert got.read(name, index).tobytes() == one[index].tobytes(), name
        got.release(name)
    assert got.nbytes == sum(got.read(name).nbytes for name in got.names())


def test_what_is_not_of_the_decoder_layers_is_float_again(pair):
    source, target = pair
    plain, reader = CheckpointReader(source), open_checkpoint(target)
    for name in stored.FOREIGN:
        values = plain.read(name)
        scales = row_scales(values, name)
        expected = (rounded(values, scales).astype(np.float32) * scales).astype(ml_dtypes.bfloat16)
        assert reader.dtype(name) == ml_dtypes.bfloat16 and reader.shape(name) == values.shape
        np.testing.assert_array_equal(reader.read(name), expected)
        np.testing.assert_array_equal(reader.read(name, (slice(3, 9), slice(2, 5))), expected[3:9, 2:5])
        hidden = [name + part for part in ("_scale", "_packed", "_shape")]
        assert name in reader and not any(each in reader or each in reader.names() for each in hidden)
        reader.release(name)


@pytest.mark.parametrize("mode", ["ep", "tp", "zero3"])
def test_ranks_read_the_same_slices(pair, mode):
    source, target = pair
    sizes = ModelSizes.from_config(read_config(source))
    for rank in range(2):
        world = World(rank=rank, world_size=2, group_size=2)
        expected = ShardedReader(Int8Reader(CheckpointReader(source)), mode, world, sizes)
        got = ShardedReader(Int8Reader(open_checkpoint(target)), mode, world, sizes)
        assert sorted(got.names()) == sorted(expected.names())
        for name in filter(is_quantized, expected.names()):
            for each in (name, name + "_scale"):
                assert (each in got) == (each in expected)
                assert expected.read(each).tobytes() == got.read(each).tobytes(), each


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("flat", [True, False])
def test_scales_of_any_float_type(tiny_dir, tmp_path, dtype, flat):
    arrays = stored.arrays_of(tiny_dir, "int-quantized", dtype)
    if flat:
        arrays[Q + "_scale"] = arrays[Q + "_scale"][:, 0]
    reader = open_checkpoint(stored.write(tiny_dir, tmp_path / "m", arrays, stored.config_of("int-quantized")))
    scales = reader.read(Q + "_scale")
    assert scales.dtype == np.float32 and scales.shape == (128, 1)
    np.testing.assert_array_equal(scales[:, 0], arrays[Q + "_scale"].astype(np.float32).reshape(-1))


def test_one_scale_for_a_whole_matrix_is_that_of_each_row(tiny_dir, tmp_path):
    arrays = stored.arrays_of(tiny_dir, "int-quantized")
    arrays[Q + "_scale"] = np.array([0.25], np.float16)
    config = stored.config_of("int-quantized", strategy="tensor")
    reader = open_checkpoint(stored.write(tiny_dir, tmp_path / "m", arrays, config))
    np.testing.assert_array_equal(reader.read(Q + "_scale"), np.full((128, 1), 0.25, np.float32))
    assert reader.shape(Q + "_scale") == (128, 1)


def test_zero_points_that_are_zero_change_nothing(tiny_dir, tmp_path):
    arrays = stored.arrays_of(tiny_dir, "int-quantized") | {Q + "_zero_point": np.zeros((128, 1), np.int8)}
    reader = open_checkpoint(stored.write(tiny_dir, tmp_path / "m", arrays, stored.config_of("int-quantized")))
    assert Q + "_zero_point" not in reader and Q + "_zero_point" not in reader.names()
    reader.read(Q + "_scale")


@pytest.mark.usefixtures("cpu")
def test_a_network_without_decoders_loads_without_a_warning(tiny_dir, tmp_path, caplog):
    from ms_omni.models.load import load_network

    arrays = stored.arrays_of(tiny_dir, "pack-quantized")
    target = stored.write(tiny_dir, tmp_path / "m", arrays, stored.config_of("pack-quantized"))
    with caplog.at_level(logging.WARNING):
        model = load_network(target, with_decoders=False)
    assert not [record for record in caplog.records if record.name.startswith("ms_omni")]
    parameters = dict(model.parameters_and_names())
    for name in (HEAD, ENCODER, "code2wav.decoder.0.conv.weight"):
        expected = open_checkpoint(target).read(name).astype(np.float32)
        np.testing.assert_array_equal(parameters[name].asnumpy().reshape(expected.shape), expected)
    with pytest.raises(OmniError, match="--engine mindone: cannot read the 8-bit weights of .*; use fused"):
        load_network(target)


def test_what_quantize_means_for_a_checkpoint(tiny_dir, pair):
    assert checkpoint_quantization(tiny_dir) == "none" and checkpoint_quantization(pair[1]) == "int8"
    for engine in ("auto", "fused", "mindone"):
        assert resolve_quantize("auto", engine, tiny_dir) == "none"
    for asked in ("none", "int8", "int8-dynamic"):
        assert resolve_quantize(asked, "fused", tiny_dir) == asked
    for asked, meant in (("auto", "int8"), ("int8", "int8"), ("int8-dynamic", "int8-dynamic")):
        assert resolve_quantize(asked, "auto", pair[1]) == meant
        with pytest.raises(OmniError, match="--engine mindone: .* use fused"):
            resolve_quantize(asked, "mindone", pair[1])
    with pytest.raises(OmniError, match="--quantize none: the weights of .* are int8 already; use auto or int8"):
        resolve_quantize("none", "auto", pair[1])


def changed(path, value, fmt="int-quantized"):
    """A quantization_config with another value at path, "a.b"; None: without it."""
    config = copy.deepcopy(stored.config_of(fmt))
    *parents, last = path.split(".")
    at = config
    for key in parents:
        at = at[key]
    at[last] = value
    return config


WEIGHTS = "config_groups.group_0.weights."


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (changed("quant_method", "gptq"), "quant_method 'gptq'"),
        (changed("quant_method", "awq"), "quant_method 'awq'"),
        (changed("quant_method", "fp8"), "quant_method 'fp8'"),
        ([], "no mapping"),
        (changed("format", "float-quantized"), "format 'float-quantized'"),
        (changed("format", "nvfp4-pack-quantized"), "format 'nvfp4-pack-quantized'"),
        (changed("config_groups.group_0.format", "dense"), "format 'dense'"),
        (changed("config_groups", {}), "no config_groups"),
        (changed("config_groups", {"W8A8": ["Linear"]}), "no weights in W8A8"),
        (changed(WEIGHTS + "num_bits", 4, "pack-quantized"), "4 bits of type 'int' in the weights of group_0"),
        (changed(WEIGHTS + "type", "float"), "8 bits of type 'float'"),
        (changed(WEIGHTS + "symmetric", False), "zero points (symmetric false)"),
        (changed(WEIGHTS + "strategy", "group"), "strategy 'group'"),
        (changed(WEIGHTS + "strategy", "block"), "strategy 'block'"),
        (changed(WEIGHTS + "actorder", "weight"), "actorder 'weight'"),
        (changed("config_groups.group_0.input_activations", {"dynamic": False}), "fixed scales for hidden states"),
        (changed("config_groups.group_0.output_activations", {"num_bits": 8}), "output_activations in group_0"),
        (changed("kv_cache_scheme", {"num_bits": 8}), "a kv_cache_scheme"),
        (changed("transform_config", {"R1": 1}), "a transform_config"),
        (changed("sparsity_config", {"format": "sparse-bitmask"}), "sparsity_config 'sparse-bitmask'"),
    ],
)
def test_other_schemes_are_named_and_what_would_load(tmp_path, config, named):
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": config}))
    with pytest.raises(OmniError) as error:
        checkpoint_quantization(tmp_path)
    line = str(error.value)
    assert named in line and "what loads is compressed-tensors with 8-bit integers, symmetric" in line
    assert str(tmp_path) in line and "\n" not in line


def test_modelslim_is_named(tiny_dir, tmp_path):
    target = stored.write(tiny_dir, tmp_path / "m", stored.arrays_of(tiny_dir, "int-quantized"), None)
    (target / "quant_model_description_w8a8_dynamic.json").write_text("{}")
    with pytest.raises(OmniError, match=r"quant_model_description_w8a8_dynamic\.json says that ModelSlim"):
        open_checkpoint(target)


def without(suffix):
    return lambda arrays: arrays.pop(Q + suffix)


def putting(suffix, value):
    return lambda arrays: arrays.update({Q + suffix: value})


def scaled(value):
    def change(arrays):
        arrays[Q + "_scale"][5] = value

    return change


def four_bits(arrays):
    arrays[Q + "_packed"] = arrays[Q + "_packed"][:, ::2].copy()


@pytest.mark.parametrize(
    ("form", "change", "fault"),
    [
        ("int-quantized", without("_scale"), r"is stored in 8 bits, but has no scales \(.*_scale\)"),
        ("pack-quantized", without("_scale"), "is stored in 8 bits, but has no scales"),
        ("pack-quantized", without("_shape"), "is packed, but not as int32 with .*weight_shape"),
        ("pack-quantized", putting("_shape", np.array(4)), "is packed, but not as int32 with .*weight_shape"),
        ("pack-quantized", putting("_packed", np.zeros((128, 16))), "is packed, but not as int32"),
        ("pack-quantized", four_bits, r"of shape \(128, 64\) is packed into int32 \(128, 8\); expected 8 bits"),
        ("int-quantized", putting("_g_idx", np.zeros(64, np.int32)), "has its columns in another order"),
        ("int-quantized", putting("_scale", np.ones((128, 2), np.float32)), r"has scales float32 \(128, 2\)"),
        ("int-quantized", putting("_scale", np.ones((128, 1), np.int8)), r"has scales int8 \(128, 1\)"),
        ("int-quantized", putting("", np.zeros((128, 8, 8), np.int8)), r"is stored in 8 bits with shape \(128, 8, 8\)"),
        ("int-quantized", putting("_zero_point", np.ones((128, 1), np.int8)), r"has zero points \(.*_zero_point\)"),
        ("int-quantized", scaled(np.inf), "has a scale that is negative, infinite or no number"),
        ("int-quantized", scaled(np.nan), "has a scale that is negative, infinite or no number"),
        ("pack-quantized", scaled(-0.5), "has a scale that is negative, infinite or no number"),
    ],
)
def test_faults_of_files_name_the_weight(tiny_dir, tmp_path, form, change, fault):
    arrays = stored.arrays_of(tiny_dir, form)
    change(arrays)
    target = stored.write(tiny_dir, tmp_path / "m", arrays, stored.config_of(form))
    with pytest.raises(OmniError, match=f"{re.escape(Q)} {fault}"):
        reader = open_checkpoint(target)
        reader.shape(Q), reader.read(Q + "_scale")


@pytest.mark.parametrize("form", ["int-quantized", "pack-quantized"])
def test_files_whose_config_says_nothing(tiny_dir, tmp_path, form):
    target = stored.write(tiny_dir, tmp_path / "m", stored.arrays_of(tiny_dir, form), None)
    with pytest.raises(OmniError, match="is quantized, but config.json has no quantization_config that says how"):
        open_checkpoint(target)


def test_float_checkpoints_have_the_plain_reader(tiny_dir, pair):
    assert type(open_checkpoint(tiny_dir)) is CheckpointReader and type(open_checkpoint(pair[1])) is StoredReader
