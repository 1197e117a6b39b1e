"""load_weights: values, types, shared parameters, and what it says about weights that do not fit."""

import logging

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from ms_omni import OmniError
from ms_omni.checkpoint.load import load_weights, named_parameters
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.checkpoint.tiny import write_tiny

pytestmark = pytest.mark.usefixtures("cpu")

RNG = np.random.default_rng(0)
VALUES = {
    "inner.weight": RNG.standard_normal((3, 4)).astype(np.float32),
    "inner.bias": RNG.standard_normal(3).astype(np.float32),
    "table": RNG.standard_normal((5, 4)).astype(np.float32),
    "steps": np.array([7], dtype=np.int32),
}


def make_cell(tied=False):
    import mindspore as ms
    from mindspore import nn

    class Inner(nn.Cell):
        def __init__(self, weight):
            super().__init__()
            self.weight = weight
            self.bias = ms.Parameter(ms.Tensor(np.zeros(3, np.float32)))

    class Outer(nn.Cell):
        def __init__(self):
            super().__init__()
            weight = ms.Parameter(ms.Tensor(np.zeros((3, 4), np.float32)))
            self.inner = Inner(weight)
            self.table = ms.Parameter(ms.Tensor(np.zeros((5, 4), np.float32)))
            self.steps = ms.Parameter(ms.Tensor(np.zeros(1, np.int32)))
            if tied:
                self.head = Inner(weight)

    return Outer()


def make_reader(directory, values):
    save_file(values, directory / "model.safetensors")
    return CheckpointReader(directory)


def test_sets_every_parameter_in_place(tmp_path):
    import mindspore as ms

    cell = make_cell()
    before = {name: id(parameter) for name, parameter in named_parameters(cell).items()}
    seen = []
    load_weights(cell, make_reader(tmp_path, VALUES), ms.float32, progress=lambda *args: seen.append(args))
    after = named_parameters(cell)
    assert {name: id(parameter) for name, parameter in after.items()} == before
    for name, expected in VALUES.items():
        np.testing.assert_array_equal(after[name].asnumpy(), expected)
    assert seen == [("load", done, 4) for done in (1, 2, 3, 4)]


def test_values_are_copies(tmp_path):
    import mindspore as ms

    cell = make_cell()
    reader = make_reader(tmp_path, VALUES)
    load_weights(cell, reader, ms.float32)
    cell.table.asnumpy()[:] = 1.0
    np.testing.assert_array_equal(reader.read("table"), VALUES["table"])


@pytest.mark.parametrize("stored", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("wanted", ["float32", "float16", "bfloat16"])
def test_casts_floats_only(tmp_path, stored, wanted):
    import mindspore as ms

    numpy_wanted = ml_dtypes.bfloat16 if wanted == "bfloat16" else np.dtype(wanted)
    values = {name: array.astype(stored) if array.dtype == np.float32 else array for name, array in VALUES.items()}
    cell = make_cell()
    load_weights(cell, make_reader(tmp_path, values), getattr(ms, wanted))
    assert cell.table.dtype == getattr(ms, wanted)
    loaded = cell.table.astype(ms.float32).asnumpy()
    np.testing.assert_array_equal(loaded, values["table"].astype(numpy_wanted).astype(np.float32))
    assert cell.steps.dtype == ms.int32
    assert cell.steps.asnumpy() == [7]


@pytest.mark.parametrize("name", ["inner.weight", "head.weight"])
def test_shared_parameter_under_either_name(tmp_path, name, caplog):
    import mindspore as ms

    values = {**VALUES, "head.bias": VALUES["inner.bias"]}
    values[name] = values.pop("inner.weight")
    cell = make_cell(tied=True)
    load_weights(cell, make_reader(tmp_path, values), ms.float32)
    assert cell.head.weight is cell.inner.weight
    np.testing.assert_array_equal(cell.inner.weight.asnumpy(), values[name])
    assert not caplog.records


def test_missing_weights_are_refused_before_anything_changes(tmp_path):
    import mindspore as ms

    cell = make_cell()
    with pytest.raises(OmniError, match=r"1 weight has no value in the checkpoint: table; config\.json and"):
        load_weights(cell, make_reader(tmp_path, {k: v for k, v in VALUES.items() if k != "table"}), ms.float32)
    assert not cell.inner.weight.asnumpy().any()


def test_many_missing_weights_are_counted(tmp_path):
    import mindspore as ms

    reader = make_reader(tmp_path, {"other": VALUES["table"]})
    with pytest.raises(OmniError, match=r"4 weights have no value in the checkpoint: \S+, \S+, \S+, \.\.\.;"):
        load_weights(make_cell(), reader, ms.float32)


def test_another_shape_names_both(tmp_path):
    import mindspore as ms

    values = {**VALUES, "table": VALUES["table"].T.copy()}
    with pytest.raises(OmniError, match=r"table has shape \(4, 5\) in the checkpoint, \(5, 4\) by config\.json"):
        load_weights(make_cell(), make_reader(tmp_path, values), ms.float32)


def test_unexpected_weights_are_warned_about(tmp_path, caplog):
    import mindspore as ms

    values = {**VALUES, "talker.weight": VALUES["table"], "extra": VALUES["table"]}
    with caplog.at_level(logging.WARNING):
        load_weights(make_cell(), make_reader(tmp_path, values), ms.float32, ignore_prefixes=["talker."])
    assert "1 weight has no place in the model: extra" in caplog.text
    assert "talker" not in caplog.text


@pytest.mark.parametrize(("variant", "dtype"), [("instruct", "float32"), ("thinking", "bfloat16")])
def test_names_of_the_whole_model(tmp_path, tiny_dir, variant, dtype, caplog):
    """mindone's parameter names and shapes are the checkpoint's, for both variants; values arrive through skip_init."""
    import mindspore as ms

    from ms_omni.checkpoint.config import read_config
    from ms_omni.checkpoint.lazy_init import skip_init
    from ms_omni.models.build import build_model

    directory = tiny_dir if variant == "instruct" else write_tiny(tmp_path / "model", variant=variant, dtype=dtype)
    ms_dtype = getattr(ms, dtype)
    with skip_init(ms_dtype):
        config = read_config(directory)
        model = build_model(config, with_talker=True, dtype=ms_dtype, attn_implementation="eager")
    reader = CheckpointReader(directory)
    load_weights(model, reader, ms_dtype)
    parameters = named_parameters(model)
    assert not caplog.records
    assert set(parameters) == set(reader.names())
    for name, parameter in parameters.items():
        assert parameter.dtype == ms_dtype, name
        values = np.asarray(reader.read(name), np.float32)
        np.testing.assert_array_equal(parameter.astype(ms.float32).asnumpy(), values, err_msg=name)


def test_tied_embeddings_need_no_head(tmp_path, tiny_dir):
    """A checkpoint with tie_word_embeddings has no lm_head.weight; mindone shares the Parameter."""
    import json

    import mindspore as ms

    from ms_omni.checkpoint.config import read_config
    from ms_omni.models.build import build_model

    content = json.loads((tiny_dir / "config.json").read_text())
    content["thinker_config"]["text_config"]["tie_word_embeddings"] = True
    (tmp_path / "config.json").write_text(json.dumps(content))
    source = CheckpointReader(tiny_dir)
    kept = [name for name in source.names() if name.startswith("thinker.") and name != "thinker.lm_head.weight"]
    reader = make_reader(tmp_path, {name: np.array(source.read(name)) for name in kept})
    model = build_model(read_config(tmp_path), with_talker=False, dtype=ms.float32, attn_implementation="eager")
    load_weights(model, reader, ms.float32)
    expected = source.read("thinker.model.embed_tokens.weight")
    np.testing.assert_array_equal(model.thinker.lm_head.weight.asnumpy(), expected)
