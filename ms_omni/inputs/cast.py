"""Turns a processor's results into MindSpore tensors of the types that a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_INT32 = np.iinfo(np.int32)


def cast_inputs(inputs: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
    """Every entry of `inputs` as an `ms.Tensor`: int32 and bool stay, other integers become int32, floats `dtype`.

    Values may be numpy arrays, ms.Tensors, numbers and (nested) lists of numbers. dtype: a MindSpore float type or its
    name ("float32", "float16", "bfloat16"). Raises TypeError naming the key for anything else (None, strings, objects),
    ValueError for ragged lists and for integers that int32 cannot hold. Nothing is dropped."""
    import mindspore as ms

    target = getattr(ms, dtype, None) if isinstance(dtype, str) else dtype
    if target not in (ms.float32, ms.float16, ms.bfloat16):
        raise TypeError(f"dtype {dtype!r}: expected float32, float16 or bfloat16")
    return {key: _cast(key, value, target) for key, value in inputs.items()}


def host_arrays(inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every entry of `inputs` as an array: int32 and bool stay, other integers become int32, floats float32. Accepts
    the same values and raises the same errors as `cast_inputs`."""
    return {key: _on_host(key, value) for key, value in inputs.items()}


def _cast(key: str, value: Any, target: Any) -> Any:
    import mindspore as ms

    if isinstance(value, ms.Tensor) and value.dtype in (ms.int32, ms.bool_, target):
        return value
    array = _on_host(key, value)
    # bfloat16 has no numpy type of its own; float32 -> bfloat16 rounds once, as torch does
    return ms.Tensor(array, dtype=target) if array.dtype == np.float32 else ms.Tensor(array)


def _on_host(key: str, value: Any) -> np.ndarray:
    array = _as_array(key, value)
    if array.dtype == np.bool_:
        return array
    return _as_int32(key, array) if array.dtype.kind in "iu" else np.ascontiguousarray(array, dtype=np.float32)


def _as_array(key: str, value: Any) -> np.ndarray:
    value = value.asnumpy() if hasattr(value, "asnumpy") else value
    if isinstance(value, (list, tuple)):
        value = [item.asnumpy() if hasattr(item, "asnumpy") else item for item in value]
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{key}: rows of different lengths cannot become one tensor") from error
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{key}: expected numbers, got {type(value).__name__} ({array.dtype})")
    return array


def _as_int32(key: str, array: np.ndarray) -> np.ndarray:
    if array.size and (array.max() > _INT32.max or array.min() < _INT32.min):
        raise ValueError(f"{key}: value {array.max() if array.max() > _INT32.max else array.min()} is beyond int32")
    return np.ascontiguousarray(array, dtype=np.int32)
