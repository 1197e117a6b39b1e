"""Legacy operators of two operands of one dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ascend_emulator.device_tensor import BOOL, FLOATS, INT8, INT16, INT32, INT64, UINT8
from ascend_emulator.legacy import REAL_NUMBERS, further, legacy, require_output
from ascend_emulator.operators.arithmetic import divide, floor_divide, power, real, remainder
from ascend_emulator.promotion import COMMON, COMPLEXES, INTEGERS, REALS, UNSIGNED, broadcast_shape, store
from ascend_emulator.refusal import require

UINT16 = UNSIGNED[0]
DIVIDED = (*REALS, *INTEGERS, UINT16)
ORDERED = (*REALS, INT32, INT64, INT8, UINT8)


def binary(
    name: str, formula: Callable[..., Any], dtypes: tuple[np.dtype, ...], result: np.dtype | None = None
) -> None:
    """result: dtype of the output; None for that of the inputs."""

    @legacy(name, (2,), dtypes=(dtypes,))
    def compute(a: Any) -> None:
        with np.errstate(all="ignore"):
            store(a.outputs[0], formula(a.inputs[0].wide(), a.inputs[1].wide()))

    @further(compute)
    def _(a: Any) -> None:
        one, other = a.inputs
        require(one.dtype == other.dtype, f"input 1: dtype {other.dtype}, expected that of input 0, {one.dtype}")
        require_output(a, broadcast_shape(one, other), result or one.dtype)


binary("Add", np.add, COMMON)
binary("Sub", lambda x, y: x ^ y if x.dtype == BOOL else x - y, (*COMMON, UINT16))
binary("Mul", np.multiply, (*COMMON, UINT16))
binary("RealDiv", lambda x, y: divide(x, y, None), (*COMMON, UINT16))
binary("Div", lambda x, y: floor_divide(x, y, None) if x.dtype.kind in "iu" else real(x) / y, (*DIVIDED, *COMPLEXES))
binary("FloorDiv", lambda x, y: floor_divide(x, y, None), DIVIDED)
binary("FloorMod", lambda x, y: remainder(x, y, None), (*REALS, INT32, INT64))
binary("Pow", lambda x, y: power(x, y, None), (*REALS, *INTEGERS, *COMPLEXES))
binary("Maximum", np.maximum, ORDERED)
binary("Minimum", np.minimum, ORDERED)
binary("Equal", np.equal, COMMON, BOOL)
binary("NotEqual", np.not_equal, REAL_NUMBERS, BOOL)
binary("Less", np.less, REAL_NUMBERS, BOOL)
binary("LessEqual", np.less_equal, REAL_NUMBERS, BOOL)
binary("Greater", np.greater, REAL_NUMBERS, BOOL)
binary("GreaterEqual", np.greater_equal, REAL_NUMBERS, BOOL)
binary("LogicalAnd", np.logical_and, (BOOL,), BOOL)
binary("LogicalOr", np.logical_or, (BOOL, INT8, UINT8, INT16, INT32, INT64, *FLOATS), BOOL)
