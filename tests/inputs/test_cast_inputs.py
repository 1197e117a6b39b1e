"""Casting to the types a model takes: nothing lost, nothing dropped."""

import mindspore as ms
import ml_dtypes
import numpy as np
import pytest

from ms_omni.inputs.cast import cast_inputs


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", ms.float32, ms.bfloat16])
def test_types(dtype):
    inputs = {
        "ids": np.array([[1, -5, 151675]], dtype=np.int64),
        "bytes": np.array([0, 255], dtype=np.uint8),
        "large": np.array([2**31 - 1, -(2**31)], dtype=np.int64),
        "same": np.array([3], dtype=np.int32),
        "mask": np.array([True, False]),
        "pixels": np.array([[0.5, -1.25]], dtype=np.float64),
        "half": np.array([0.5], dtype=np.float16),
        "brain": np.array([1.5], dtype=ml_dtypes.bfloat16),
        "seconds": [2.0, 0.5],
        "grid": [[1, 2, 3], [4, 5, 6]],
        "fps": 2,
        "tensor": ms.Tensor([7, 8], ms.int64),
        "float_tensor": ms.Tensor([1.5], ms.float32),
        "brain_tensor": ms.Tensor([2.5], ms.bfloat16),
        "flag": ms.Tensor([True]),
        "rows": [ms.Tensor([1, 2], ms.int64), ms.Tensor([3, 4], ms.int64)],
    }
    cast = cast_inputs(inputs, dtype)
    assert list(cast) == list(inputs)
    floats = {"pixels", "half", "brain", "seconds", "float_tensor", "brain_tensor"}
    wanted = getattr(ms, dtype) if isinstance(dtype, str) else dtype
    for key, tensor in cast.items():
        assert isinstance(tensor, ms.Tensor), key
        assert tensor.dtype == (wanted if key in floats else ms.bool_ if key in ("mask", "flag") else ms.int32), key
    assert cast["ids"].asnumpy().tolist() == [[1, -5, 151675]]
    assert cast["large"].asnumpy().tolist() == [2**31 - 1, -(2**31)]
    assert cast["bytes"].asnumpy().tolist() == [0, 255]
    assert cast["pixels"].float().asnumpy().tolist() == [[0.5, -1.25]]
    assert cast["brain"].float().asnumpy().tolist() == [1.5]
    assert cast["brain_tensor"].float().asnumpy().tolist() == [2.5]
    assert cast["rows"].asnumpy().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "value,error,message",
    [
        (None, TypeError, "x: expected numbers, got NoneType"),
        ("text", TypeError, "x: expected numbers, got str"),
        (["a"], TypeError, "x: expected numbers, got list"),
        ([{}], TypeError, "x: expected numbers, got list"),
        (np.array([1j]), TypeError, "x: expected numbers, got ndarray"),
        ([[1], [1, 2]], ValueError, "x: rows of different lengths"),
        (np.array([2**31]), ValueError, "x: value 2147483648 is beyond int32"),
        (np.array([2**63], dtype=np.uint64), ValueError, "x: value 9223372036854775808 is beyond int32"),
        ([-(2**40)], ValueError, "x: value -1099511627776 is beyond int32"),
        (2**70, TypeError, "x: expected numbers"),
    ],
)
def test_what_cannot_be_cast_is_named(value, error, message):
    with pytest.raises(error) as caught:
        cast_inputs({"ok": [1], "x": value}, "float32")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("dtype", ["float64", "int32", "abs", "", None, ms.int32])
def test_the_model_type_must_be_a_float(dtype):
    with pytest.raises(TypeError, match="expected float32, float16 or bfloat16"):
        cast_inputs({}, dtype)


def test_empty_arrays_keep_their_shape():
    cast = cast_inputs({"none": np.zeros((0, 3), np.int64)}, "float32")["none"]
    assert cast.shape == (0, 3) and cast.dtype == ms.int32
