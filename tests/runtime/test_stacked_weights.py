"""Weights of a decoder layer are copied once, from the file to where they stay, and are what their names say."""

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

from ms_omni.checkpoint.int8 import rounded, row_scales
from ms_omni.checkpoint.int8_reader import Int8Reader
from ms_omni.checkpoint.parameters import parameter
from ms_omni.runtime.gathered_weights import gathered_layer
from ms_omni.runtime.stacked_weights import Dtypes, layer_weights

pytestmark = pytest.mark.usefixtures("cpu")

EXPERTS, INNER, HIDDEN = 16, 96, 128
PREFIX = "thinker.model."
LAYER = PREFIX + "layers.3."
SHAPES = {
    "post_attention_layernorm": (HIDDEN,),
    "self_attn.q_norm": (32,),
    "self_attn.k_norm": (32,),
    "self_attn.q_proj": (128, HIDDEN),
    "self_attn.k_proj": (64, HIDDEN),
    "self_attn.v_proj": (64, HIDDEN),
    "self_attn.o_proj": (HIDDEN, 128),
    "mlp.gate": (EXPERTS, HIDDEN),
    **{f"mlp.experts.{e}.{name}": (INNER, HIDDEN) for e in range(EXPERTS) for name in ("gate_proj", "up_proj")},
    **{f"mlp.experts.{e}.down_proj": (HIDDEN, INNER) for e in range(EXPERTS)},
}
FLOAT32 = Dtypes(np.dtype(np.float32), np.dtype(np.float32))
SPEC = SimpleNamespace(has_bias=False, dense_layers=(), shared_expert=False, num_experts=EXPERTS)


class Memory:
    """A reader of weights that are in memory; it says which were read and released."""

    def __init__(self, dtype):
        rng = np.random.default_rng(1)
        self.values = {f"{LAYER}{name}.weight": rng.standard_normal(s).astype(dtype) for name, s in SHAPES.items()}
        self.was_read, self.released = [], []
        self.reader, self.directory = self, Path("memory")

    def shape(self, name):
        return self.values[name].shape

    def dtype(self, name):
        return self.values[name].dtype

    def read(self, name, index=None):
        self.was_read.append(name)
        return self.values[name] if index is None else self.values[name][index]

    def release(self, name):
        self.released.append(name)

    def __getitem__(self, name):
        return self.values[f"{LAYER}{name}.weight"]


def the_device(name):
    from ms_omni.kernels.decoder_ops import decoder_ops

    return decoder_ops(name)


@pytest.mark.parametrize("wanted", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("stored", [np.float32, ml_dtypes.bfloat16])
def test_stacked(stored, wanted):
    reader, experts = Memory(stored), range(4, 12)
    found = layer_weights(reader, PREFIX, 3, SPEC, the_device("CPU"), Dtypes(wanted, np.float32), experts)
    joined = np.concatenate([reader[f"self_attn.{name}_proj"] for name in "qkv"])
    np.testing.assert_array_equal(found["qkv"], joined.T.astype(wanted))
    gate_up = [np.concatenate([reader[f"mlp.experts.{e}.{n}_proj"] for n in ("gate", "up")]) for e in experts]
    down = [reader[f"mlp.experts.{e}.down_proj"] for e in experts]
    for name, expected in (("gate_up", gate_up), ("down", down)):
        got = found[name].float().asnumpy()
        np.testing.assert_array_equal(got, np.stack(expected).swapaxes(1, 2).astype(wanted).astype(np.float32))
    assert sorted(reader.was_read) == sorted(set(reader.was_read)) == sorted(reader.released)


def test_int8_matrices_have_scales_beside_them():
    """As the reader has them, joined and stacked as floats are, and not turned around in numpy."""
    plain = Memory(np.float32)
    reader, experts = Int8Reader(plain), range(4, 12)
    found = layer_weights(reader, PREFIX, 3, SPEC, the_device("CPU"), FLOAT32, experts)
    names = {"qkv": [f"self_attn.{n}_proj" for n in "qkv"], "o": ["self_attn.o_proj"]}
    for key, joined in names.items():
        values = np.concatenate([plain[name] for name in joined])
        scales = row_scales(values, key)
        np.testing.assert_array_equal(found[key], rounded(values, scales))
        np.testing.assert_array_equal(found[f"{key}_scale"], scales[:, 0])
        assert found[key].dtype == np.int8 and found[f"{key}_scale"].dtype == np.float32
    gate_up = np.stack([np.concatenate([plain[f"mlp.experts.{e}.{n}_proj"] for n in ("gate", "up")]) for e in experts])
    down = np.stack([plain[f"mlp.experts.{e}.down_proj"] for e in experts])
    for key, values in (("gate_up", gate_up), ("down", down)):
        scales = np.stack([row_scales(each, key) for each in values])
        np.testing.assert_array_equal(found[f"{key}_scale"], scales[..., 0])
        made = [rounded(*each) for each in zip(values, scales, strict=True)]
        np.testing.assert_array_equal(found[key].asnumpy(), np.stack(made))
    assert found["router"].dtype == np.float32 and "router_scale" not in found


@pytest.mark.parametrize("kind", ["stacked", "gathered"])
def test_int8_memory(kind):
    """That of the result, and of one weight in float32 beside it."""
    plain = Memory(np.float32)
    largest = max(values.nbytes for values in plain.values.values())
    total = sum(values.nbytes for values in plain.values.values())
    tracemalloc.start()
    if kind == "stacked":
        kept = layer_weights(Int8Reader(plain), PREFIX, 3, SPEC, the_device("CPU"), FLOAT32, range(EXPERTS))
    else:
        kept = gathered_layer(Int8Reader(plain), PREFIX, 3, SPEC, FLOAT32).arrays
    kept = [parameter(values, name) for name, values in kept.items()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(kept) >= 4 and peak < 0.3 * total + 2 * largest + (64 << 10)


def test_each_device_has_matrices_as_it_reads_them():
    """Ascend's transposition of experts is an operator of the device, here the CPU's."""
    plain = layer_weights(Memory(np.float32), PREFIX, 3, SPEC, the_device("CPU"), FLOAT32, range(EXPERTS))
    packed = layer_weights(Memory(np.float32), PREFIX, 3, SPEC, the_device("Ascend"), FLOAT32, range(EXPERTS))
    for name in ("gate_up", "down"):
        assert packed[name].is_contiguous()
        np.testing.assert_array_equal(packed[name].asnumpy(), plain[name].asnumpy())
    for name in ("qkv", "o", "router"):
        assert plain[name].flags.c_contiguous
        np.testing.assert_array_equal(packed[name], plain[name].T)


@pytest.mark.parametrize("kind", ["stacked", "gathered"])
def test_memory_is_that_of_the_result(kind):
    """And of no more than the largest weight beside it: no array of all experts is ever made twice."""
    reader = Memory(np.float32)
    largest = max(values.nbytes for values in reader.values.values())
    total = sum(values.nbytes for values in reader.values.values())
    tracemalloc.start()
    if kind == "stacked":
        kept = layer_weights(reader, PREFIX, 3, SPEC, the_device("CPU"), FLOAT32, range(EXPERTS))
    else:
        kept = gathered_layer(reader, PREFIX, 3, SPEC, FLOAT32).arrays
    kept = [parameter(values, name) for name, values in kept.items()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(kept) >= 2 and peak < total + largest + (64 << 10)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_parameter_is_the_array(dtype):
    import mindspore as ms

    values = np.arange(6).reshape(2, 3).astype(dtype)
    made = parameter(values, "thinker.a")
    assert isinstance(made, ms.Parameter) and made.name == "thinker.a" and not made.requires_grad
    assert made.shape == (2, 3) and made.dtype == ms.Tensor.from_numpy(values).dtype
    values[0, 0] = 7  # no copy was made
    assert made.float().asnumpy()[0, 0] == 7
    np.testing.assert_array_equal(ms.ops.transpose(made, (1, 0)).float().asnumpy(), values.T.astype(np.float32))
