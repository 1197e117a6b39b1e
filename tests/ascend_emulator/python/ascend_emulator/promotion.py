"""Dtypes and shapes that CANN derives from several arguments: promotion, conversion and broadcasting.

Source: CANN, the pages "deduction_relationship" (tensors, and tensor with scalar), "conversion_relationship" and
"broadcast_relationship" that the documents of aclnn operators refer to, and the header data_type_utils.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ascend_emulator.device_tensor import (
    BOOL,
    COMPLEX64,
    COMPLEX128,
    FLOAT32,
    FLOAT64,
    FLOATS,
    HALVES,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    DeviceTensor,
)
from ascend_emulator.refusal import require

REALS = (*FLOATS, FLOAT64)
INTEGERS = (INT8, UINT8, INT16, INT32, INT64)
COMPLEXES = (COMPLEX64, COMPLEX128)
# The twelve dtypes that most element-wise operators list for A2 and A3 cards
COMMON = (*REALS, *INTEGERS, BOOL, *COMPLEXES)
UNSIGNED = (UINT16, UINT32, UINT64)
MAX_RANK = 8

_RANK_OF_INTEGER = {BOOL: 0, INT8: 1, UINT8: 1, INT16: 2, INT32: 3, INT64: 4}


def promoted(*dtypes: np.dtype) -> np.dtype:
    """The dtype that tensors of these dtypes are computed in. Raises Refused where CANN's table has none: the unsigned
    dtypes of 16 bits and more promote with nothing but themselves."""
    first = dtypes[0]
    for other in dtypes[1:]:
        first = _promoted(first, other)
    return first


def promoted_with_scalar(dtype: np.dtype, scalar: np.dtype) -> np.dtype:
    """Of a tensor and a scalar: the tensor's, unless the scalar is of a higher kind (integer, real, complex)."""
    if scalar in COMPLEXES and dtype not in COMPLEXES:
        return promoted(dtype, scalar) if dtype not in UNSIGNED else COMPLEX64
    if scalar in REALS and dtype not in (*REALS, *COMPLEXES):
        return promoted(dtype, scalar) if dtype in UNSIGNED else FLOAT32
    if dtype == BOOL:
        return scalar
    return dtype


def is_convertible(source: np.dtype, target: np.dtype) -> bool:
    """Whether an aclnn operator converts results of dtype `source` to an output of dtype `target`: never from complex
    to another kind, from reals to integers, or to bool (CANN 8.1.RC1, CanCast in data_type_utils.h; the page
    "conversion_relationship" is less strict about the first two)."""
    if source == target:
        return True
    if target == BOOL or (source in COMPLEXES and target not in COMPLEXES):
        return False
    return not (source in REALS and target in (*INTEGERS, *UNSIGNED))


def require_convertible(source: np.dtype, target: DeviceTensor) -> None:
    require(
        is_convertible(source, target.dtype),
        f"{target.name}: dtype {target.dtype}, results of dtype {source} are not converted to it",
    )


def scalar_dtype(scalar: Any) -> np.dtype:
    """The dtype that a scalar was made with; of a plain Python number the one that it would be made with."""
    if hasattr(scalar, "dtype"):
        return scalar.dtype
    if isinstance(scalar, bool):
        return BOOL
    if isinstance(scalar, int):
        return INT64
    return COMPLEX64 if isinstance(scalar, complex) else FLOAT32


def require_scalar_dtype(name: str, scalar: Any, *allowed: np.dtype) -> None:
    dtype = scalar_dtype(scalar)
    require(dtype in allowed, f"{name}: dtype {dtype}, allowed: {', '.join(str(d) for d in allowed)}")


def require_max_rank(*tensors: DeviceTensor) -> None:
    for tensor in tensors:
        require(tensor.ndim <= MAX_RANK, f"{tensor.name}: shape {tensor.shape}, allowed: at most {MAX_RANK} dimensions")


def broadcast_shape(*tensors: DeviceTensor) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    except ValueError:
        shapes = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in tensors)
        require(False, f"shapes that do not broadcast: {shapes}")
        raise


def require_broadcast(out: DeviceTensor, *tensors: DeviceTensor) -> None:
    """The output has exactly the shape that the inputs broadcast to; an in-place operator passes its tensor twice."""
    expected = broadcast_shape(*tensors)
    require(out.shape == expected, f"{out.name}: shape {out.shape}, expected the broadcast shape {expected}")


def axis_of(name: str, axis: int, ndim: int) -> int:
    """A dimension counted from the front. A tensor of no dimensions has one, as CANN counts."""
    count = max(ndim, 1)
    require(-count <= axis < count, f"{name}: {axis}, allowed: {-count} to {count - 1}")
    return axis % count


def axes_of(name: str, axes: Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Dimensions counted from the front; none given means all of them."""
    if not axes:
        return tuple(range(ndim))
    positive = tuple(axis_of(name, axis, ndim) for axis in axes)
    require(len(set(positive)) == len(positive), f"{name}: {list(axes)}, a dimension is named twice")
    return tuple(axis for axis in positive if axis < ndim)


def compute_dtype(dtype: np.dtype) -> np.dtype:
    """What an operator of this dtype computes in: half precision in float32, everything else as it is."""
    return FLOAT32 if dtype in HALVES else dtype


def converted(values: Any, dtype: np.dtype) -> np.ndarray:
    """Values as a dtype: to integers the fraction is dropped, NaN becomes 0 (CANN, aclnnCast), and what does not fit
    stops at the largest or smallest value (undocumented; numpy leaves it undefined). Between integers the high bits are
    dropped."""
    values = np.asarray(values)
    if values.dtype == dtype:
        return values
    if dtype == BOOL:
        return values != 0
    if values.dtype in HALVES:
        values = values.astype(FLOAT32)
    with np.errstate(all="ignore"):
        if values.dtype.kind == "c" and dtype.kind != "c":
            values = values.real
        if values.dtype.kind == "f" and dtype.kind in "iu":
            return _truncated(values, dtype)
        return values.astype(dtype)


def _truncated(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    limits = np.iinfo(dtype)
    whole = np.trunc(np.nan_to_num(values.astype(FLOAT64), nan=0.0, posinf=np.inf, neginf=-np.inf))
    inside = (whole > limits.min - 1.0) & (whole < limits.max + 1.0)
    result = np.where(inside, whole, 0).astype(dtype)
    result[...] = np.where(whole >= limits.max + 1.0, limits.max, result)
    result[...] = np.where(whole <= limits.min - 1.0, limits.min, result)
    return result


def operand(values: Any, dtype: np.dtype) -> np.ndarray:
    """A tensor's values or a scalar, converted to the promoted dtype and widened to compute with."""
    values = values.array if isinstance(values, DeviceTensor) else values
    return converted(values, dtype).astype(compute_dtype(dtype))


def dtype_of(value: Any) -> np.dtype:
    return value.dtype if isinstance(value, DeviceTensor) else scalar_dtype(value)


def store(out: DeviceTensor, values: Any) -> None:
    """Write results, rounded or converted once to the output's dtype."""
    out.put(converted(values, out.dtype))


def _promoted(one: np.dtype, other: np.dtype) -> np.dtype:
    if one == other:
        return one
    require(one not in UNSIGNED and other not in UNSIGNED, f"dtypes {one} and {other} have no common dtype")
    if one in COMPLEXES or other in COMPLEXES:
        return COMPLEX128 if {COMPLEX128, FLOAT64} & {one, other} else COMPLEX64
    if one in REALS and other in REALS:
        return FLOAT64 if FLOAT64 in (one, other) else FLOAT32
    if one in REALS or other in REALS:
        return one if one in REALS else other
    if {one, other} == {INT8, UINT8}:
        return INT16
    return one if _RANK_OF_INTEGER[one] >= _RANK_OF_INTEGER[other] else other
