"""Writing a checkpoint with 8-bit weights: the same bytes as rounding while reading, going on, and what is refused."""

import errno
import json
import os
import shutil
from collections import namedtuple

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from ms_omni.checkpoint import quantize
from ms_omni.checkpoint.compressed import checkpoint_quantization
from ms_omni.checkpoint.config import QUANTIZE_MARKER as MARKER
from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.int8 import is_quantized, weight_of
from ms_omni.checkpoint.int8_reader import Int8Reader
from ms_omni.checkpoint.quantize import quantize_checkpoint
from ms_omni.checkpoint.reader import INDEX, CheckpointReader
from ms_omni.checkpoint.resolve import resolve_checkpoint
from ms_omni.checkpoint.stored_reader import open_checkpoint
from ms_omni.checkpoint.tiny import write_tiny
from ms_omni.errors import OmniError

SHARD_BYTES = 300_000  # less than an embedding, which has a file of its own


@pytest.fixture(scope="module")
def half_dir(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("half") / "half", seed=11, variant="thinking", dtype="bfloat16")


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def pair(request, tiny_dir, half_dir, tmp_path_factory):
    """A float checkpoint, what was written of it, and what was said of that."""
    source = {"float32": tiny_dir, "bfloat16": half_dir}[request.param]
    out = tmp_path_factory.mktemp("written") / "new" / "int8"
    return source, out, quantize_checkpoint(source, out, shard_bytes=SHARD_BYTES)


def test_every_byte_is_that_of_rounding_while_reading(pair):
    source, out, _ = pair
    expected, got = Int8Reader(CheckpointReader(source)), Int8Reader(open_checkpoint(out))
    assert sorted(expected.names()) == sorted(got.names())
    for name in expected.names():
        one, other = expected.read(name), got.read(name)
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), name


def test_the_files(pair):
    source, out, written = pair
    index = json.loads((out / INDEX).read_text())
    files = sorted(out.glob("*.safetensors"))
    assert written.num_shards == len(files) > 2
    assert sorted(set(index["weight_map"].values())) == [path.name for path in files]
    reader, total = CheckpointReader(out), 0
    for path in files:
        with safe_open(path, "numpy") as file:  # the library's own check of the format
            names = set(file.keys())
        assert names == {name for name, home in index["weight_map"].items() if home == path.name}
        size = sum(reader.read(name).nbytes for name in names)
        assert size <= SHARD_BYTES or len([name for name in names if not weight_of(name)]) == 1
        total += size
    assert index["metadata"]["total_size"] == written.num_bytes == total == reader.nbytes
    assert written.source_bytes == CheckpointReader(source).nbytes > total
    assert written.num_int8 == sum(map(is_quantized, reader.names())) > 100
    for name in filter(weight_of, reader.names()):
        assert reader.dtype(name) == ml_dtypes.bfloat16
        assert index["weight_map"][name] == index["weight_map"][weight_of(name)]
    others = {path.name for path in source.iterdir() if "safetensors" not in path.name} - {"config.json"}
    assert {path.name for path in out.iterdir()} == others | {path.name for path in files} | {INDEX, "config.json"}
    assert all((out / name).read_bytes() == (source / name).read_bytes() for name in others)


def test_config_names_what_is_not_quantized(pair):
    source, out, _ = pair
    before, after = (json.loads((each / "config.json").read_text()) for each in (source, out))
    described = after.pop("quantization_config")
    assert before == after and checkpoint_quantization(out) == "int8"
    assert read_config(out).thinker_config.to_dict() == read_config(source).thinker_config.to_dict()
    matrices = {name for name in CheckpointReader(source).names() if name.endswith(".weight")}
    matrices = {name for name in matrices if len(CheckpointReader(source).shape(name)) == 2}
    ignored = {f"{name}.weight" for name in described["ignore"]}
    assert ignored == {name for name in matrices if not is_quantized(name)}
    assert {"thinker.lm_head.weight", "thinker.model.layers.0.mlp.gate.weight"} <= ignored
    group = described["config_groups"]["group_0"]
    assert group["weights"] == {
        "num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False,
    }  # fmt: skip
    assert (group["targets"], group["input_activations"]["strategy"]) == (["Linear"], "token")
    assert (described["quant_method"], described["format"]) == ("compressed-tensors", "int-quantized")


def test_scales_are_in_the_file_of_their_weight(half_dir, tmp_path):
    written = quantize_checkpoint(half_dir, tmp_path / "out", shard_bytes=1)
    homes = json.loads((tmp_path / "out" / INDEX).read_text())["weight_map"]
    assert all(homes[name] == homes[weight_of(name)] for name in homes if weight_of(name))
    assert written.num_shards == len(set(homes.values())) == len(homes) - written.num_int8


def stop_after(count):
    def progress(stage, done, total):
        if done == count:
            raise KeyboardInterrupt

    return progress


def test_goes_on_where_it_was_interrupted(tiny_dir, tmp_path):
    out, said = tmp_path / "out", []
    with pytest.raises(KeyboardInterrupt):
        quantize_checkpoint(tiny_dir, out, stop_after(400), SHARD_BYTES)
    first = sorted(out.glob("*.safetensors"))
    assert first and not (out / "config.json").exists() and not list(out.glob("*.partial"))
    with pytest.raises(OmniError, match="ms-omni quantize has not finished it"):
        resolve_checkpoint(out)
    times = [path.stat().st_mtime_ns for path in first]
    quantize_checkpoint(tiny_dir, out, lambda *words: said.append(words), SHARD_BYTES)
    assert times == [path.stat().st_mtime_ns for path in first]
    done, total = said[0][1:]
    assert 100 < done < 400 < total and [words[1] for words in said] == list(range(done, total + 1))
    assert {words[0] for words in said} == {"quantize"} and {words[2] for words in said} == {total}
    assert not (out / MARKER).exists()
    at_once = tmp_path / "at_once"
    quantize_checkpoint(tiny_dir, at_once, shard_bytes=SHARD_BYTES)
    names = {path.name for path in out.iterdir()}
    assert names == {path.name for path in at_once.iterdir()}
    assert all((out / name).read_bytes() == (at_once / name).read_bytes() for name in names)


def test_another_model_does_not_go_on(tiny_dir, half_dir, tmp_path):
    source = shutil.copytree(tiny_dir, tmp_path / "source")
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        quantize_checkpoint(source, out, stop_after(1))
    with pytest.raises(OmniError, match="--out .*: was begun with another --model"):
        quantize_checkpoint(half_dir, out)
    os.utime(next(source.glob("*.safetensors")), ns=(1, 1))
    with pytest.raises(OmniError, match="or with files that have changed; remove it, or choose another"):
        quantize_checkpoint(source, out)


def test_directories_that_are_refused(tiny_dir, pair, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for model, out, why in (
        (tiny_dir, tmp_path / "full", "--out .*full: is not empty; choose another directory"),
        (tiny_dir, tmp_path / "file", "--out .*file: is a file"),
        (tiny_dir, tiny_dir, "--out .*tiny: lies in --model"),
        (tiny_dir, tiny_dir / "int8", "--out .*int8: lies in --model"),
        (tiny_dir, tmp_path / ".." / tmp_path.name / "full", "is not empty"),
        (pair[1], tmp_path / "new", "--model .*: its weights are int8 already; load it as it is"),
        (tiny_dir, pair[1], "is not empty"),
    ):
        with pytest.raises(OmniError, match=why):
            quantize_checkpoint(model, out)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "mine"]
    assert not (tiny_dir / MARKER).exists() and not (tiny_dir / "int8").exists()


def test_too_little_space_is_said_before_anything_is_written(tiny_dir, tmp_path, monkeypatch):
    asked = []

    def usage(path):
        asked.append(path)
        return namedtuple("Usage", "total used free")(10**9, 0, 5_000_000)

    monkeypatch.setattr(quantize.shutil, "disk_usage", usage)
    with pytest.raises(OmniError, match=r"--out .*b: \d+\.\d\d GB are needed, 0\.01 GB are free there"):
        quantize_checkpoint(tiny_dir, tmp_path / "a" / "b")
    assert asked == [tmp_path] and not list(tmp_path.iterdir())


def test_a_disk_that_refuses_is_one_line(tiny_dir, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OmniError, match=r"--out .*out: cannot be written \(No space left on device\)"):
        quantize_checkpoint(tiny_dir, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [MARKER]


def test_a_weight_that_is_no_number_is_named(tmp_path, tiny_dir):
    from safetensors.numpy import save_file

    name = "thinker.model.layers.2.self_attn.v_proj.weight"
    reader = CheckpointReader(tiny_dir)
    arrays = {each: np.array(reader.read(each)) for each in reader.names()}
    arrays[name][3, 1] = np.nan
    (tmp_path / "model").mkdir()
    save_file(arrays, tmp_path / "model" / "model.safetensors")
    shutil.copyfile(tiny_dir / "config.json", tmp_path / "model" / "config.json")
    with pytest.raises(OmniError, match=f"{name} has a value in row 3 that is infinite or no number"):
        quantize_checkpoint(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


def test_each_weight_is_let_go_before_the_next_is_read(tiny_dir, tmp_path, monkeypatch):
    done = []
    for name in ("read", "release"):
        method = getattr(Int8Reader, name)

        def spy(self, *args, name=name, method=method):
            done.append((name, args[0]))
            return method(self, *args)

        monkeypatch.setattr(Int8Reader, name, spy)
    quantize_checkpoint(tiny_dir, tmp_path / "out")
    names = Int8Reader(CheckpointReader(tiny_dir)).names()
    assert done == [(word, name) for name in names for word in ("read", "release")]
