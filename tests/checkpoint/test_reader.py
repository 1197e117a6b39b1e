"""CheckpointReader: every released layout, every way in which files can be broken."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from ms_omni import OmniError
from ms_omni.checkpoint.reader import INDEX, CheckpointReader

WEIGHTS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b.weight": np.arange(6, dtype=np.float16).reshape(2, 3) / 4,
    "c.weight": np.linspace(-2, 2, 5).astype(ml_dtypes.bfloat16),
    "d.ids": np.array([2**40, -1], dtype=np.int64),
    "e.scalar": np.array(3.5, dtype=np.float32),
    "f.empty": np.zeros((0, 4), dtype=np.float32),
    "g.mask": np.array([True, False]),
}


def write_shards(directory, shards, index=True):
    weight_map = {}
    for file_name, names in shards.items():
        save_file({name: WEIGHTS[name] for name in names}, directory / file_name)
        weight_map.update(dict.fromkeys(names, file_name))
    if index:
        (directory / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def assert_same(reader):
    assert set(reader.names()) == set(WEIGHTS)
    for name, expected in WEIGHTS.items():
        values = reader.read(name)
        assert values.dtype == expected.dtype == reader.dtype(name)
        assert values.shape == expected.shape == reader.shape(name)
        np.testing.assert_array_equal(values, expected)
    assert reader.nbytes == sum(values.nbytes for values in WEIGHTS.values())


NAMES = list(WEIGHTS)
LAYOUTS = {
    "single": ({"model.safetensors": NAMES}, False),
    "sharded": ({"model-1.safetensors": NAMES[:3], "model-2.safetensors": NAMES[3:]}, True),
    "any_order": ({"z.safetensors": NAMES[::2], "m.safetensors": NAMES[1:2], "a.safetensors": NAMES[3::2]}, True),
    "no_index": ({"part_b.safetensors": NAMES[4:], "part_a.safetensors": NAMES[:4]}, False),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, layout):
    shards, index = LAYOUTS[layout]
    write_shards(tmp_path, shards, index)
    assert_same(CheckpointReader(tmp_path))


def test_slices_are_those_of_the_whole(tmp_path):
    write_shards(tmp_path, {"model.safetensors": NAMES}, index=False)
    reader = CheckpointReader(tmp_path)
    for index in ((slice(1, 3),), (slice(None), slice(0, 2)), (slice(0, 3, 2), slice(3, 4))):
        np.testing.assert_array_equal(reader.read("a.weight", index), WEIGHTS["a.weight"][index])
    np.testing.assert_array_equal(reader.read("c.weight", (slice(1, 4),)), WEIGHTS["c.weight"][1:4])


def test_values_outlive_the_reader_and_cannot_be_written(tmp_path):
    write_shards(tmp_path, {"model.safetensors": NAMES}, index=False)
    values = CheckpointReader(tmp_path).read("a.weight")
    np.testing.assert_array_equal(values, WEIGHTS["a.weight"])
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 1


def test_names_follow_the_order_of_the_file(tmp_path):
    write_shards(tmp_path, {"model.safetensors": NAMES}, index=False)
    reader = CheckpointReader(tmp_path)
    offsets = [reader._home[name].entries[name].offset for name in reader.names()]
    assert offsets == sorted(offsets)


def test_single_file_wins_as_in_transformers(tmp_path):
    write_shards(tmp_path, {"model-1.safetensors": NAMES[:1]})
    write_shards(tmp_path, {"model.safetensors": NAMES}, index=False)
    assert_same(CheckpointReader(tmp_path))


def test_index_decides_between_two_copies(tmp_path):
    save_file({"a.weight": WEIGHTS["a.weight"] + 1}, tmp_path / "old.safetensors")
    write_shards(tmp_path, {"new.safetensors": NAMES[:2], "old2.safetensors": NAMES[2:]})
    save_file(
        {**{n: WEIGHTS[n] for n in NAMES[2:]}, "a.weight": WEIGHTS["a.weight"] + 1}, tmp_path / "old2.safetensors"
    )
    assert_same(CheckpointReader(tmp_path))


def test_two_copies_without_an_index(tmp_path):
    write_shards(tmp_path, {"x.safetensors": NAMES[:2], "y.safetensors": NAMES[1:]}, index=False)
    with pytest.raises(OmniError, match=r"b\.weight is in both x\.safetensors and y\.safetensors; remove one"):
        CheckpointReader(tmp_path)


def test_missing_shard_is_named(tmp_path):
    write_shards(tmp_path, {"model-1.safetensors": NAMES[:3], "model-2.safetensors": NAMES[3:]})
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(OmniError, match=r"model-2\.safetensors: this shard is missing.*download the file again"):
        CheckpointReader(tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 8, 60, -1])
def test_truncated_shard_is_named(tmp_path, kept):
    write_shards(tmp_path, {"model-1.safetensors": NAMES[:3], "model-2.safetensors": NAMES[3:]})
    shard = tmp_path / "model-2.safetensors"
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.raises(OmniError, match=r"model-2\.safetensors: truncated or corrupt .*; download or copy this file"):
        CheckpointReader(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 5\n",
        (4).to_bytes(8, "little") + b"[1]\n",
        (2).to_bytes(8, "little") + b"\xff\xfe",
        (28).to_bytes(8, "little") + b'{"a": {"dtype": "F32"}}     ',
    ],
)
def test_file_of_another_kind(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(OmniError, match="truncated or corrupt"):
        CheckpointReader(tmp_path)


def craft(path, **info):
    header = json.dumps({"a": info}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))


def test_size_that_does_not_fit_the_shape(tmp_path):
    craft(tmp_path / "model.safetensors", dtype="F32", shape=[2, 2], data_offsets=[0, 12])
    with pytest.raises(OmniError, match="the size of a does not fit its shape"):
        CheckpointReader(tmp_path)


def test_unsupported_dtype(tmp_path):
    craft(tmp_path / "model.safetensors", dtype="F8_E4M3", shape=[4], data_offsets=[0, 4])
    with pytest.raises(OmniError, match="a has dtype F8_E4M3; supported are F64, F32, F16, BF16"):
        CheckpointReader(tmp_path)


def test_weight_that_is_not_where_the_index_says(tmp_path):
    write_shards(tmp_path, {"model-1.safetensors": NAMES})
    save_file({name: WEIGHTS[name] for name in NAMES[2:]}, tmp_path / "model-1.safetensors")
    with pytest.raises(OmniError, match=r"model-1\.safetensors: does not hold a\.weight.*2 such weights"):
        CheckpointReader(tmp_path)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": ["a"]}', '{"weight_map": {"a": 1}}'])
def test_index_without_a_map(tmp_path, index):
    (tmp_path / INDEX).write_text(index)
    with pytest.raises(OmniError, match="no weight_map from weight names to files"):
        CheckpointReader(tmp_path)


def test_no_weights_at_all(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(OmniError, match=r"no \*\.safetensors file in this directory; no other format is read"):
        CheckpointReader(tmp_path)


def test_unknown_weight(tmp_path):
    write_shards(tmp_path, {"model.safetensors": NAMES}, index=False)
    reader = CheckpointReader(tmp_path)
    assert "a.weight" in reader and "h.weight" not in reader
    with pytest.raises(OmniError, match=r"no weight named h\.weight"):
        reader.read("h.weight")
