"""Element-wise operators of two operands, tensors or a tensor and a scalar: one line each, with the dtypes that CANN's
document lists. They are computed in the promoted dtype, half precision in float32 and rounded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ascend_emulator.device_tensor import BOOL, FLOAT32, INT32, INT64, DeviceTensor, require_dtype
from ascend_emulator.promotion import (
    COMMON,
    COMPLEXES,
    INTEGERS,
    REALS,
    UNSIGNED,
    dtype_of,
    is_convertible,
    operand,
    promoted,
    promoted_with_scalar,
    require_broadcast,
    require_convertible,
    require_max_rank,
    require_scalar_dtype,
    scalar_dtype,
    store,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

Formula = Callable[..., Any]
UINT16 = UNSIGNED[0]
NOT_COMPLEX = (*REALS, *INTEGERS, BOOL)


def binary(
    name: str,
    formula: Formula,
    inputs: tuple[np.dtype, ...] = COMMON,
    outputs: tuple[np.dtype, ...] | None = None,
    *,
    scalar: str | None = None,
    computed: tuple[np.dtype, ...] | None = None,
    rule: Callable[..., np.dtype] = promoted,
    check: Callable[[Any], None] = lambda a: None,
    extra: str = "",
    in_place: bool = False,
    names: tuple[str, str] = ("self", "other"),
) -> None:
    """formula(left, right, a) in the promoted dtype. scalar: name of the operand that is a scalar. computed: dtypes
    allowed after promotion. extra: further parameters after the operands. check: further limits. in_place: with the
    in-place form, whose result has the first operand's shape and dtype."""
    left, right = names
    outputs = outputs or inputs
    kinds = [f"{operand}: {'scalar' if operand == scalar else 'tensor'}" for operand in names]
    extra = f", {extra}" if extra else ""

    def compute(a: Any, one: Any, other: Any, out: DeviceTensor) -> None:
        dtype = rule(dtype_of(one), dtype_of(other))
        with np.errstate(all="ignore"):
            store(out, formula(operand(one, dtype), operand(other, dtype), a))

    def limits(a: Any, one: Any, other: Any, out: DeviceTensor) -> None:
        tensors = [value for value in (one, other) if isinstance(value, DeviceTensor)]
        for operand_name, value in zip(names, (one, other), strict=True):
            if isinstance(value, DeviceTensor):
                require_dtype(value, *inputs)
            else:
                require_scalar_dtype(operand_name, value, *inputs)
        require_dtype(out, *outputs)
        require_max_rank(*tensors, out)
        dtype = rule(dtype_of(one), dtype_of(other))
        require(
            computed is None or dtype in computed,
            f"{left} and {right}: dtypes {dtype_of(one)} and {dtype_of(other)} promote to {dtype}, allowed: "
            f"{', '.join(str(d) for d in computed or ())}",
        )
        require_convertible(dtype, out)
        require_broadcast(out, *tensors)
        check(a)

    aclnn(f"aclnn{name}({', '.join(kinds)}{extra}, out: tensor)", doc=f"aclnn{name}")(
        lambda a: compute(a, getattr(a, left), getattr(a, right), a.out)
    ).limits(lambda a: limits(a, getattr(a, left), getattr(a, right), a.out))
    if in_place and scalar != left:
        ref = f"{left}Ref"
        aclnn(f"aclnnInplace{name}({ref}: tensor, {kinds[1]}{extra})", doc=f"aclnn{name}&aclnnInplace{name}")(
            lambda a: compute(a, getattr(a, ref), getattr(a, right), getattr(a, ref))
        ).limits(lambda a: limits(a, getattr(a, ref), getattr(a, right), getattr(a, ref)))


def scaled(values: np.ndarray, a: Any) -> np.ndarray:
    """The second operand times alpha, in the promoted dtype."""
    return values * np.asarray(a.alpha).astype(values.dtype) if values.dtype != BOOL else values & bool(a.alpha)


def add(one: np.ndarray, other: np.ndarray, a: Any) -> np.ndarray:
    return one + scaled(other, a)


def subtract(one: np.ndarray, other: np.ndarray, a: Any) -> np.ndarray:
    return one ^ scaled(other, a) if one.dtype == BOOL else one - scaled(other, a)


def first_tensor(a: Any) -> DeviceTensor:
    return a.self if hasattr(a, "self") else a.selfRef


def check_alpha(a: Any) -> None:
    require_scalar_dtype("alpha", a.alpha, *COMMON)
    dtype, alpha = promoted(first_tensor(a).dtype, dtype_of(a.other)), scalar_dtype(a.alpha)
    fits = alpha.kind in "iub" if dtype == BOOL else is_convertible(alpha, dtype)
    require(fits, f"alpha: dtype {alpha}, not convertible to the promoted dtype {dtype}")


def real(values: np.ndarray) -> np.ndarray:
    return values.astype(FLOAT32) if values.dtype.kind in "iub" else values


def divide(one: np.ndarray, other: np.ndarray, a: Any) -> np.ndarray:
    return real(one) / real(other)


def floor_divide(one: np.ndarray, other: np.ndarray, a: Any) -> np.ndarray:
    if one.dtype.kind in "iu":
        return np.floor_divide(one, other)
    return np.floor(real(one) / real(other))


def truncated_divide(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    if one.dtype.kind in "iu":
        floor = np.floor_divide(one, other)
        return floor + ((floor * other != one) & (floor < 0))
    return np.trunc(real(one) / real(other))


DIVISIONS = (divide, lambda one, other, a: truncated_divide(one, other), floor_divide)


def check_mode(a: Any) -> None:
    require(a.mode in (0, 1, 2), f"mode: {a.mode}, allowed: 0 (none), 1 (trunc), 2 (floor)")
    dtype = promoted(first_tensor(a).dtype, dtype_of(a.other))
    require(a.mode == 0 or dtype not in COMPLEXES, f"mode: {a.mode}, complex values allow only 0")


def remainder(one: np.ndarray, other: np.ndarray, a: Any) -> np.ndarray:
    result = np.mod(one, other)
    return np.where(other == 0, one, result) if one.dtype.kind in "iu" else result


def power(one: np.ndarray, other: np.ndarray, a: Any) -> np.ndarray:
    if one.dtype == BOOL:
        one, other = one.astype(np.int8), other.astype(np.int8)
    if one.dtype.kind not in "iu":
        return np.power(one, other)
    whole = np.power(one, np.maximum(other, 0))
    inverse = np.where(one == 1, 1, np.where(one == -1, 1 - 2 * (other & 1), 0)).astype(one.dtype)
    return np.where(other < 0, inverse, whole)


def check_exponent(a: Any) -> None:
    tensor = first_tensor(a)
    dtype, exponent = promoted(tensor.dtype, scalar_dtype(a.exponent)), a.exponent
    require(dtype != BOOL, "self and exponent: both bool")
    if dtype.kind in "iu":
        limit = np.iinfo(dtype).max
        require(0 <= exponent <= limit, f"exponent: {exponent}, allowed for {dtype}: 0 to {limit}")


def check_not_both_bool(a: Any) -> None:
    tensor = first_tensor(a)
    require({tensor.dtype, a.exponent.dtype} != {BOOL}, "self and exponent: both bool")


POWERS = (*COMMON, *UNSIGNED)
DIVIDED = (*REALS, *INTEGERS, BOOL)
REMAINDERS = (INT32, INT64, *REALS)
REMAINDER_OUTPUTS = (*REALS, *INTEGERS, *COMPLEXES)
ALPHA = "alpha: scalar"
binary("Add", add, extra=ALPHA, check=check_alpha, in_place=True)
binary("Adds", add, extra=ALPHA, check=check_alpha, scalar="other", in_place=True)
binary("Sub", subtract, extra=ALPHA, check=check_alpha, in_place=True)
binary("Subs", subtract, extra=ALPHA, check=check_alpha, scalar="other", in_place=True)
binary("Mul", lambda x, y, a: x * y, in_place=True)
binary("Muls", lambda x, y, a: x * y, scalar="other", in_place=True)
binary("Div", divide, in_place=True)
binary("Divs", divide, scalar="other", in_place=True)
binary("DivMod", lambda x, y, a: DIVISIONS[a.mode](x, y, a), extra="mode: int32", check=check_mode, in_place=True)
binary(
    "DivMods",
    lambda x, y, a: DIVISIONS[a.mode](x, y, a),
    extra="mode: int32",
    check=check_mode,
    scalar="other",
    rule=promoted_with_scalar,
    in_place=True,
)
binary("FloorDivide", floor_divide, DIVIDED, (*REALS, *INTEGERS, *COMPLEXES), in_place=True)
binary("FloorDivides", floor_divide, DIVIDED, DIVIDED, scalar="other", in_place=True)
binary("RemainderTensorTensor", remainder, NOT_COMPLEX, REMAINDER_OUTPUTS, computed=REMAINDERS, in_place=True)
binary(
    "RemainderTensorScalar",
    remainder,
    REMAINDERS,
    REMAINDER_OUTPUTS,
    scalar="other",
    computed=REMAINDERS,
    in_place=True,
)
binary("PowTensorTensor", power, COMMON, POWERS, names=("self", "exponent"), check=check_not_both_bool)
binary("PowTensorScalar", power, COMMON, POWERS, names=("self", "exponent"), scalar="exponent", check=check_exponent)
binary(
    "PowScalarTensor",
    power,
    tuple(d for d in COMMON if d != BOOL),
    tuple(d for d in POWERS if d != BOOL),
    names=("self", "exponent"),
    scalar="self",
    rule=lambda scalar, tensor: promoted_with_scalar(tensor, scalar),
)
binary("Maximum", lambda x, y, a: np.maximum(x, y), NOT_COMPLEX)
binary("Minimum", lambda x, y, a: np.minimum(x, y), NOT_COMPLEX)
BITS = (BOOL, *INTEGERS, UINT16)
binary("BitwiseAndTensor", lambda x, y, a: x & y, BITS, (*BITS, *UNSIGNED[1:]))
binary("BitwiseOrTensor", lambda x, y, a: x | y, (*BITS, *UNSIGNED[1:]))
binary("BitwiseXorTensor", lambda x, y, a: x ^ y, BITS[:-1], (*BITS[:-1], *REALS))
binary("BitwiseAndScalar", lambda x, y, a: x & y, BITS, (*BITS, *REALS), scalar="other")
binary("BitwiseOrScalar", lambda x, y, a: x | y, BITS, (*BITS, *REALS), scalar="other")
