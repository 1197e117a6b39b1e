"""Calls of emulated operators in tests: tensors from numpy arrays, and every parameter that is not named left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ascend_emulator import dispatch, operators  # noqa: F401  operators fills the table
from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, DeviceTensor
from ascend_emulator.refusal import INVALID_PARAMETER, Refused
from ascend_emulator.table import Operator, arguments, find

HALVES = (FLOAT16, BFLOAT16)
# Half of the distance between neighbours: what one rounding costs, relative
ROUNDING = {FLOAT16: 2.0**-11, BFLOAT16: 2.0**-8, FLOAT32: 2.0**-20, FLOAT64: 2.0**-40}


def tensor(values: Any, dtype: Any = None, name: str = "x") -> DeviceTensor:
    """Of device memory that the test owns. Strides are kept if the dtype is the array's own."""
    array = np.asarray(values)
    dtype = np.dtype(dtype) if dtype is not None else array.dtype
    return DeviceTensor(name, array if array.dtype == dtype else array.astype(dtype), "ND", 0, array.size)


def empty(shape: Sequence[int], dtype: Any, name: str = "out") -> DeviceTensor:
    """Filled with what must not be left over."""
    made = np.empty(tuple(shape), dtype)
    made[...] = 77
    return DeviceTensor(name, made, "ND", 0, made.size)


def random(shape: Sequence[int], dtype: Any, seed: int = 0, scale: float = 1.0, name: str = "x") -> DeviceTensor:
    return tensor(np.random.default_rng(seed).standard_normal(tuple(shape)) * scale, dtype, name)


def exact(given: DeviceTensor) -> np.ndarray:
    return given.array.astype(np.float64)


def operator(kind: str, name: str) -> Operator:
    found = find(kind, name)
    assert found is not None, f"{kind} {name} is not in the table"
    return found


def call(name: str, **values: Any) -> None:
    """An aclnn operator, as a card would: limits, then the work. Parameters left out are null pointers, or 0."""
    found, a = _prepared(name, values)
    dispatch.check(found, a)
    found.compute(a)


def check(name: str, **values: Any) -> None:
    """The limits of an aclnn operator alone."""
    dispatch.check(*_prepared(name, values))


def _prepared(name: str, values: dict[str, Any]) -> tuple[Operator, Any]:
    found, values = operator("aclnn", name), dict(values)
    assert found.signature is not None
    given: dict[str, Any] = {}
    for parameter in found.signature.parameters:
        given[parameter.name] = values.pop(parameter.name, None if parameter.is_optional else 0)
    assert not values, f"{name} has no parameters {', '.join(values)}"
    return found, arguments(**given)


def call_kernel(kind: str, name: str, inputs: list[Any], outputs: list[Any], **attributes: Any) -> None:
    """An internal or aclop operator."""
    found = operator(kind, name)
    a = arguments(inputs=inputs, outputs=outputs, attributes=attributes)
    dispatch.check(found, a)
    found.compute(a)


class refused:
    """`with refused("part of the message"):` the call inside must be refused with CANN's status."""

    def __init__(self, message: str, status: int = INVALID_PARAMETER) -> None:
        self._raises = pytest.raises(Refused, match=message)
        self._status = status

    def __enter__(self) -> None:
        self._caught = self._raises.__enter__()

    def __exit__(self, *problem: Any) -> bool:
        handled = self._raises.__exit__(*problem)
        assert self._caught.value.status == self._status, self._caught.value.status
        return bool(handled)


def assert_near(made: DeviceTensor, wanted: np.ndarray, roundings: float = 1.01, floor: float = 1e-6) -> None:
    """Within so many roundings of the output's dtype, relative to each value; floor: of values near zero, absolute."""
    difference = np.abs(exact(made) - wanted)
    allowed = roundings * ROUNDING[made.dtype] * np.abs(wanted) + floor
    assert made.shape == wanted.shape, (made.shape, wanted.shape)
    assert np.all(difference <= allowed), f"greatest excess {np.max(difference - allowed)} of {made.name}"
