"""Element-wise operators of the aclnn interface: one line each, with the dtypes that CANN's document lists.

Half precision is computed in float32 and rounded once. The column "dimensions" of the documents sometimes starts at 1
where the list of errors names only the maximum of 8: a tensor of no dimensions is accepted there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import erf

from ascend_emulator.cards import series
from ascend_emulator.device_tensor import (
    BFLOAT16,
    BOOL,
    FLOAT32,
    FLOATS,
    INT32,
    INT64,
    DeviceTensor,
    require_dtype,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.promotion import (
    COMMON,
    COMPLEXES,
    INTEGERS,
    REALS,
    UNSIGNED,
    compute_dtype,
    converted,
    is_convertible,
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
ANY_REAL = (*REALS, *COMPLEXES)
UINT16 = UNSIGNED[0]
NOT_COMPLEX = (*REALS, *INTEGERS, BOOL)


def operand(values: Any, dtype: np.dtype) -> np.ndarray:
    """A tensor's values or a scalar, converted to the promoted dtype and widened to compute with."""
    values = values.array if isinstance(values, DeviceTensor) else values
    return converted(values, dtype).astype(compute_dtype(dtype))


def dtype_of(value: Any) -> np.dtype:
    return value.dtype if isinstance(value, DeviceTensor) else scalar_dtype(value)


# ---- one tensor ------------------------------------------------------------------------------------------------------
def unary(
    name: str,
    formula: Formula,
    inputs: tuple[np.dtype, ...],
    outputs: tuple[np.dtype, ...] | None = None,
    *,
    in_place: bool = True,
) -> None:
    """outputs: None if the result has the input's dtype. Where the outputs hold no integers, integers are computed in
    float32."""
    is_real = outputs is not None and not set(outputs) & set(INTEGERS)

    def compute(source: DeviceTensor, out: DeviceTensor) -> None:
        values = source.wide()
        if is_real and source.dtype.kind in "iub":
            values = values.astype(FLOAT32)
        with np.errstate(all="ignore"):
            store(out, formula(values))

    def check(source: DeviceTensor, out: DeviceTensor) -> None:
        require_dtype(source, *inputs)
        require_max_rank(source, out)
        require_shape(out, source.shape)
        if outputs is None:
            require_same_dtype(source, out)
            return
        require_dtype(out, *outputs)
        if BOOL not in outputs:
            require_convertible(FLOAT32 if is_real and source.dtype.kind in "iub" else source.dtype, out)
        require(
            source.dtype not in COMPLEXES or out.dtype in COMPLEXES,
            f"{out.name}: dtype {out.dtype}, the result of complex values is complex",
        )

    doc = f"aclnn{name}"
    aclnn(f"aclnn{name}(self: tensor, out: tensor)", doc=doc)(lambda a: compute(a.self, a.out)).limits(
        lambda a: check(a.self, a.out)
    )
    if in_place:
        aclnn(f"aclnnInplace{name}(selfRef: tensor)", doc=f"aclnn{name}&aclnnInplace{name}")(
            lambda a: compute(a.selfRef, a.selfRef)
        ).limits(lambda a: check(a.selfRef, a.selfRef))


def bitwise_not(values: np.ndarray) -> np.ndarray:
    return np.logical_not(values) if values.dtype == BOOL else np.invert(values)


NUMBERS = (*REALS, *INTEGERS, BOOL, *COMPLEXES)
unary(
    "Neg",
    np.negative,
    (*REALS, *COMPLEXES, *INTEGERS[:1], INT32, INT64),
    (*REALS, *COMPLEXES, *INTEGERS[:1], INT32, INT64),
)
unary("Exp", np.exp, (*ANY_REAL, BOOL, INT64), ANY_REAL)
unary("Log", np.log, NUMBERS, ANY_REAL)
unary("Sqrt", np.sqrt, NUMBERS, ANY_REAL)
unary("Rsqrt", lambda x: 1 / np.sqrt(x), NUMBERS, ANY_REAL)
unary("Sin", np.sin, NUMBERS, ANY_REAL)
unary("Cos", np.cos, NUMBERS, ANY_REAL)
unary("Tanh", np.tanh, (*FLOATS, *INTEGERS, BOOL), FLOATS)
unary("Reciprocal", lambda x: 1 / x, NUMBERS, ANY_REAL)
unary("Floor", np.floor, (*REALS, *INTEGERS, *UNSIGNED))
unary("Ceil", np.ceil, REALS)
unary("Round", np.rint, (*REALS, INT32, INT64))
unary("Trunc", np.trunc, FLOATS)
unary("Sign", np.sign, (*REALS, INT32, INT64, *COMPLEXES), in_place=False)
unary("BitwiseNot", bitwise_not, (*INTEGERS, BOOL), in_place=False)
unary("LogicalNot", np.logical_not, NOT_COMPLEX, NOT_COMPLEX)
unary("IsFinite", np.isfinite, REALS, (BOOL,), in_place=False)
unary("IsInf", np.isinf, NOT_COMPLEX, (BOOL,), in_place=False)


@aclnn("aclnnAbs(self: tensor, out: tensor)", doc="aclnnAbs")
def absolute(a):
    store(a.out, np.abs(a.self.wide()))


@absolute.limits
def _(a):
    require_dtype(a.self, *NOT_COMPLEX, COMPLEXES[0])
    require_max_rank(a.self)
    require_shape(a.out, a.self.shape)
    expected = FLOAT32 if a.self.dtype in COMPLEXES else a.self.dtype
    require(a.out.dtype == expected, f"out: dtype {a.out.dtype}, expected {expected}")


@aclnn("aclnnErf(self: tensor, out: tensor)", doc="aclnnErf&aclnnInplaceErf")
def error_function(a):
    store(a.out, erf(a.self.wide() if a.self.dtype.kind not in "ib" else a.self.array.astype(FLOAT32)))


@error_function.limits
def _(a):
    reals = tuple(dtype for dtype in REALS if dtype != BFLOAT16 or series() == "A3")
    require_dtype(a.self, *reals, BOOL, INT64)
    require_dtype(a.out, *reals)
    require_max_rank(a.self)
    require_shape(a.out, a.self.shape)


# ---- two operands ----------------------------------------------------------------------------------------------------
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
    in_place: bool = True,
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
binary("Add", add, extra=ALPHA, check=check_alpha)
binary("Adds", add, extra=ALPHA, check=check_alpha, scalar="other")
binary("Sub", subtract, extra=ALPHA, check=check_alpha)
binary("Subs", subtract, extra=ALPHA, check=check_alpha, scalar="other")
binary("Mul", lambda x, y, a: x * y)
binary("Muls", lambda x, y, a: x * y, scalar="other")
binary("Div", divide)
binary("Divs", divide, scalar="other")
binary("DivMod", lambda x, y, a: DIVISIONS[a.mode](x, y, a), extra="mode: int32", check=check_mode)
binary(
    "DivMods",
    lambda x, y, a: DIVISIONS[a.mode](x, y, a),
    extra="mode: int32",
    check=check_mode,
    scalar="other",
    rule=promoted_with_scalar,
)
binary("FloorDivide", floor_divide, DIVIDED, (*REALS, *INTEGERS, *COMPLEXES))
binary("FloorDivides", floor_divide, DIVIDED, DIVIDED, scalar="other")
binary("RemainderTensorTensor", remainder, NOT_COMPLEX, REMAINDER_OUTPUTS, computed=REMAINDERS)
binary("RemainderTensorScalar", remainder, REMAINDERS, REMAINDER_OUTPUTS, scalar="other", computed=REMAINDERS)
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
binary("Maximum", lambda x, y, a: np.maximum(x, y), NOT_COMPLEX, in_place=False)
binary("Minimum", lambda x, y, a: np.minimum(x, y), NOT_COMPLEX, in_place=False)
BITS = (BOOL, *INTEGERS, UINT16)
binary("BitwiseAndTensor", lambda x, y, a: x & y, BITS, (*BITS, *UNSIGNED[1:]))
binary("BitwiseOrTensor", lambda x, y, a: x | y, (*BITS, *UNSIGNED[1:]))
binary("BitwiseXorTensor", lambda x, y, a: x ^ y, BITS)
binary("BitwiseAndScalar", lambda x, y, a: x & y, BITS, (*BITS, *REALS), scalar="other")
binary("BitwiseOrScalar", lambda x, y, a: x | y, BITS, (*BITS, *REALS), scalar="other")


# ---- clamping --------------------------------------------------------------------------------------------------------
def clamp(name: str, parameters: str) -> None:
    def compute(a: Any) -> None:
        values = a.self.wide()
        low, high = getattr(a, "clipValueMin", None), getattr(a, "clipValueMax", None)
        if low is not None:
            values = np.maximum(values, operand(low, a.self.dtype))
        if high is not None:
            values = np.minimum(values, operand(high, a.self.dtype))
        store(a.out, values)

    def limits(a: Any) -> None:
        require_dtype(a.self, *REALS, *INTEGERS)
        require_dtype(a.out, *REALS, *INTEGERS)
        require_max_rank(a.self)
        require_shape(a.out, a.self.shape)
        bounds = {key: getattr(a, key, None) for key in ("clipValueMin", "clipValueMax")}
        require(any(bound is not None for bound in bounds.values()), "clipValueMin and clipValueMax: both absent")
        for key, bound in bounds.items():
            if bound is not None:
                require_scalar_dtype(key, bound, *NOT_COMPLEX)

    aclnn(f"aclnn{name}(self: tensor, {parameters}, out: tensor)", doc=f"aclnn{name}")(compute).limits(limits)


clamp("Clamp", "clipValueMin: scalar?, clipValueMax: scalar?")
clamp("ClampMin", "clipValueMin: scalar")
clamp("ClampMax", "clipValueMax: scalar")


def clamp_to_tensors(name: str, bounds: dict[str, Formula]) -> None:
    """bounds: the names of the tensors that bound the values, and how."""

    def dtype_for(a: Any) -> np.dtype:
        return promoted(a.self.dtype, *(getattr(a, key).dtype for key in bounds))

    def compute(a: Any) -> None:
        dtype = dtype_for(a)
        values = operand(a.self, dtype)
        for key, bound in bounds.items():
            values = bound(values, operand(getattr(a, key), dtype))
        store(a.out, values)

    def limits(a: Any) -> None:
        limit = [getattr(a, key) for key in bounds]
        require_dtype(a.self, *REALS, *INTEGERS)
        require_dtype(a.out, *REALS, *INTEGERS)
        for tensor in limit:
            require_dtype(tensor, *NOT_COMPLEX)
        require_max_rank(a.self, *limit, a.out)
        require_convertible(dtype_for(a), a.out)
        require_broadcast(a.out, a.self, *limit)

    parameters = ", ".join(f"{key}: tensor" for key in sorted(bounds, reverse=True))
    aclnn(f"aclnn{name}(self: tensor, {parameters}, out: tensor)", doc=f"aclnn{name}")(compute).limits(limits)


clamp_to_tensors("ClampTensor", {"clipValueMax": np.minimum, "clipValueMin": np.maximum})
clamp_to_tensors("ClampMinTensor", {"clipValueMin": np.maximum})
clamp_to_tensors("ClampMaxTensor", {"max": np.minimum})
