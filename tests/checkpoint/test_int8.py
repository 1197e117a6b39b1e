"""Weights in 8 bits: which ones, how they are rounded, and what a reader says of them."""

import ml_dtypes
import numpy as np
import pytest

from ms_omni.checkpoint.int8 import is_quantized, rounded, row_scales
from ms_omni.checkpoint.int8_reader import Int8Reader
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.errors import OmniError

LAYER = "thinker.model.layers.3."


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (LAYER + "self_attn.q_proj.weight", True),
        (LAYER + "self_attn.q_proj.bias", False),
        (LAYER + "self_attn.q_norm.weight", False),
        (LAYER + "mlp.experts.17.down_proj.weight", True),
        (LAYER + "mlp.gate.weight", False),
        ("talker.model.layers.0.mlp.shared_expert.up_proj.weight", True),
        ("talker.model.layers.0.mlp.shared_expert_gate.weight", False),
        ("talker.code_predictor.model.layers.4.mlp.gate_proj.weight", True),
        ("talker.code_predictor.lm_head.4.weight", False),
        ("thinker.model.embed_tokens.weight", False),
        ("thinker.visual.blocks.0.mlp.linear_fc1.weight", False),
        ("code2wav.pre_transformer.layers.0.self_attn.q_proj.weight", False),
    ],
)
def test_which_weights(name, expected):
    assert is_quantized(name) is expected


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_nearest_values_of_scales_that_bfloat16_holds(dtype):
    values = np.random.default_rng(0).standard_normal((700, 2000)).astype(dtype)  # more than one part
    values[5], values[6, 0] = 0, 30
    scales = row_scales(values, "w")
    made = rounded(values, scales)
    wide = values.astype(np.float64)
    np.testing.assert_array_equal(scales, scales.astype(ml_dtypes.bfloat16).astype(np.float32))
    largest = np.abs(wide).max(1, keepdims=True)
    assert (scales[largest > 0] * 127 >= largest[largest > 0]).all()
    assert (scales * 127 <= np.maximum(largest * 1.008, 127)).all()
    assert np.abs(made * scales.astype(np.float64) - wide).max(1).max() <= 0.5000001 * scales.max()
    np.testing.assert_array_equal(made, np.rint(wide.astype(np.float32) / scales))
    assert not made[5].any() and np.abs(made).max() <= 127


def test_rows_smaller_than_any_scale_are_zeros():
    values = np.full((1, 4), 1e-45, np.float32)
    scales = row_scales(values, "w")
    assert scales[0, 0] > 0 and np.isfinite(rounded(values, scales).astype(float)).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_values_that_are_no_numbers_are_named(value):
    values = np.ones((5, 3), np.float32)
    values[4, 1] = value
    with pytest.raises(OmniError, match=r"^some\.weight has a value in row 4 that is infinite or no number"):
        row_scales(values, "some.weight")


def test_a_reader_of_the_tiny_checkpoint(tiny_dir):
    plain = CheckpointReader(tiny_dir)
    reader = Int8Reader(plain)
    name = "thinker.model.layers.0.self_attn.k_proj.weight"
    values, whole = plain.read(name), reader.read(name)
    scales = reader.read(name + "_scale")
    assert whole.dtype == reader.dtype(name) == np.int8 and whole.shape == reader.shape(name) == values.shape
    assert scales.dtype == reader.dtype(name + "_scale") == np.float32
    assert scales.shape == reader.shape(name + "_scale") == (len(values), 1)
    index = (slice(3, 9), slice(0, 7))
    np.testing.assert_array_equal(reader.read(name, index), whole[index])
    np.testing.assert_array_equal(reader.read(name + "_scale", (slice(3, 9), slice(0, 1))), scales[3:9])
    for each in (name, name + "_scale"):
        reader.release(each)
    np.testing.assert_array_equal(reader.read(name + "_scale"), scales)  # asked for by themselves
    norm = "thinker.model.norm.weight"
    assert reader.read(norm).dtype == plain.dtype(norm) == reader.dtype(norm) and norm + "_scale" not in reader
    names = reader.names()
    assert names[names.index(name) + 1] == name + "_scale" in reader
    assert len(names) == len(plain.names()) + sum(map(is_quantized, plain.names()))
    assert reader.nbytes == sum(reader.read(each).nbytes for each in names) < plain.nbytes
