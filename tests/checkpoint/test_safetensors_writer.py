"""Files that are written array by array: the library safetensors reads the same values, each array when it is due."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from ms_omni.checkpoint.safetensors_file import SafetensorsFile
from ms_omni.checkpoint.safetensors_writer import write_safetensors

RNG = np.random.default_rng(3)
ARRAYS = {
    "seven bytes": RNG.integers(-128, 128, (7, 1)).astype(np.int8),  # what follows would not be aligned
    "b": RNG.standard_normal((3, 5)).astype(np.float32),
    "größe": RNG.standard_normal((5,)).astype(ml_dtypes.bfloat16),
    "turned": RNG.standard_normal((4, 6)).astype(np.float16).T,
    "scalar": np.array(3.5, np.float64),
    "none": np.zeros((0, 4), np.float32),
    "flags": np.array([True, False]),
}
KINDS = {name: (array.dtype, array.shape) for name, array in ARRAYS.items()}


def test_the_library_reads_the_same(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, KINDS, ARRAYS.values())
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"format": "pt"} and set(file.keys()) == set(ARRAYS)
        for name, array in ARRAYS.items():
            if array.dtype != ml_dtypes.bfloat16:  # unknown to numpy
                np.testing.assert_array_equal(file.get_tensor(name), array)
    ours = SafetensorsFile(path)
    for name, array in ARRAYS.items():
        assert ours.read(name).tobytes() == array.tobytes(), name
        assert ours.entries[name].offset % array.itemsize == 0 and ours.entries[name].shape == array.shape
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    ends = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
    assert sorted(ends)[-1][1] == sum(array.nbytes for array in ARRAYS.values())  # no gaps: the library checks the rest
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_an_array_is_on_disk_before_the_next_is_made(tmp_path):
    kinds = {name: (np.dtype(np.float32), (1 << 16,)) for name in "abcd"}
    sizes = []

    def made():
        for number, _ in enumerate(kinds):
            sizes.append((tmp_path / ".f.partial").stat().st_size)
            yield np.full(1 << 16, number, np.float32)

    write_safetensors(tmp_path / "f", kinds, made())
    assert [size >> 18 for size in sizes] == [0, 1, 2, 3]
    assert SafetensorsFile(tmp_path / "f").read("c")[0] == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_whole_or_not_at_all(tmp_path, error):
    def made():
        yield np.zeros(4, np.int8)
        raise error

    kinds = {name: (np.dtype(np.int8), (4,)) for name in "ab"}
    with pytest.raises(error):
        write_safetensors(tmp_path / "f", kinds, made())
    assert not list(tmp_path.iterdir())


def test_fewer_arrays_and_other_shapes_are_our_fault(tmp_path):
    kinds = {name: (np.dtype(np.int8), (4,)) for name in "ab"}
    with pytest.raises(ValueError):
        write_safetensors(tmp_path / "f", kinds, iter([np.zeros(4, np.int8)]))
    with pytest.raises(AssertionError):
        write_safetensors(tmp_path / "f", kinds, iter([np.zeros(5, np.int8), np.zeros(4, np.int8)]))
