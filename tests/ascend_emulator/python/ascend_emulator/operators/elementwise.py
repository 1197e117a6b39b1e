"""Element-wise operators of one tensor: one line each, with the dtypes that CANN's document lists.

Half precision is computed in float32 and rounded once. The column "dimensions" of the documents sometimes starts at 1
where the list of errors names only the maximum of 8: a tensor of no dimensions is accepted there. In-place forms are
those that MindSpore names.
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
    INT8,
    INT32,
    INT64,
    DeviceTensor,
    require_dtype,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.promotion import COMPLEXES, INTEGERS, REALS, UNSIGNED, require_convertible, require_max_rank, store
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

Formula = Callable[..., Any]
ANY_REAL = (*REALS, *COMPLEXES)
NOT_COMPLEX = (*REALS, *INTEGERS, BOOL)
NUMBERS = (*REALS, *INTEGERS, BOOL, *COMPLEXES)
NEGATED = (*REALS, *COMPLEXES, INT8, INT32, INT64)


def unary(
    name: str,
    formula: Formula,
    inputs: tuple[np.dtype, ...],
    outputs: tuple[np.dtype, ...] | None = None,
    *,
    in_place: bool = False,
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


unary("Neg", np.negative, NEGATED, NEGATED)
unary("Exp", np.exp, (*ANY_REAL, BOOL, INT64), ANY_REAL, in_place=True)
unary("Log", np.log, NUMBERS, ANY_REAL, in_place=True)
unary("Sqrt", np.sqrt, NUMBERS, ANY_REAL)
unary("Rsqrt", lambda x: 1 / np.sqrt(x), NUMBERS, ANY_REAL)
unary("Sin", np.sin, NUMBERS, ANY_REAL)
unary("Cos", np.cos, NUMBERS, ANY_REAL)
unary("Tanh", np.tanh, (*FLOATS, *INTEGERS, BOOL), FLOATS, in_place=True)
unary("Reciprocal", lambda x: 1 / x, NUMBERS, ANY_REAL)
unary("Floor", np.floor, (*REALS, *INTEGERS, *UNSIGNED), in_place=True)
unary("Ceil", np.ceil, REALS)
unary("Trunc", np.trunc, FLOATS)
unary("Sign", np.sign, (*REALS, INT32, INT64, *COMPLEXES))
unary("BitwiseNot", bitwise_not, (*INTEGERS, BOOL))
unary("LogicalNot", np.logical_not, NOT_COMPLEX, NOT_COMPLEX)
unary("IsFinite", np.isfinite, REALS, (BOOL,))
unary("IsInf", np.isinf, NOT_COMPLEX, (BOOL,))


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
