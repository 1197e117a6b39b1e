"""Comparisons and logic of two operands: the result is bool, or any dtype that bool converts to."""

from __future__ import annotations

from typing import Any

import numpy as np

from ascend_emulator.device_tensor import (
    BOOL,
    INT8,
    INT32,
    INT64,
    UINT8,
    DeviceTensor,
    require_dtype,
    require_rank,
)
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
    require_broadcast,
    require_max_rank,
    require_scalar_dtype,
    store,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

UINT16, UINT32, UINT64 = UNSIGNED
ORDERED = (*REALS, *INTEGERS, BOOL, *UNSIGNED)
ORDERED_OUTPUTS = (*ORDERED, *COMPLEXES)
LESS_EQUAL = (*REALS, *INTEGERS, BOOL, UINT16)
NOT_COMPLEX = (*REALS, *INTEGERS, BOOL)


def compare(name: str, formula: Any, inputs: tuple[np.dtype, ...], outputs: tuple[np.dtype, ...], kind: str) -> None:
    """kind: of the second operand, tensor or scalar. The operands are compared in their promoted dtype."""

    def compute(a: Any) -> None:
        dtype = promoted(a.self.dtype, dtype_of(a.other))
        store(a.out, formula(operand(a.self, dtype), operand(a.other, dtype)))

    def limits(a: Any) -> None:
        tensors = [value for value in (a.self, a.other) if isinstance(value, DeviceTensor)]
        require_dtype(a.self, *inputs)
        if kind == "tensor":
            require_dtype(a.other, *inputs)
        else:
            require_scalar_dtype("other", a.other, *inputs)
        require_dtype(a.out, *outputs)
        require_max_rank(*tensors, a.out)
        promoted(a.self.dtype, dtype_of(a.other))
        require_broadcast(a.out, *tensors)

    aclnn(f"aclnn{name}(self: tensor, other: {kind}, out: tensor)", doc=f"aclnn{name}")(compute).limits(limits)


compare("EqTensor", np.equal, COMMON, COMMON, "tensor")
compare("NeTensor", np.not_equal, COMMON, COMMON, "tensor")
compare("GtTensor", np.greater, ORDERED, ORDERED_OUTPUTS, "tensor")
compare("GeTensor", np.greater_equal, ORDERED, ORDERED_OUTPUTS, "tensor")
compare("LtTensor", np.less, ORDERED, ORDERED_OUTPUTS, "tensor")
compare("LeTensor", np.less_equal, LESS_EQUAL, ORDERED_OUTPUTS, "tensor")
compare("EqScalar", np.equal, COMMON, COMMON, "scalar")
compare("NeScalar", np.not_equal, COMMON, COMMON, "scalar")
compare("GeScalar", np.greater_equal, ORDERED, ORDERED_OUTPUTS, "scalar")
compare("LogicalAnd", np.logical_and, COMMON, COMMON, "tensor")
compare("LogicalOr", np.logical_or, COMMON, COMMON, "tensor")
compare("LogicalXor", np.logical_xor, COMMON, COMMON, "tensor")


@aclnn("aclnnSWhere(condition: tensor, self: tensor, other: tensor, out: tensor)", doc="aclnnSWhere")
def where(a):
    dtype = promoted(a.self.dtype, a.other.dtype)
    store(a.out, np.where(a.condition.array, operand(a.self, dtype), operand(a.other, dtype)))


@where.limits
def _(a):
    require_dtype(a.condition, BOOL, UINT8)
    for tensor in (a.self, a.other, a.out):
        require_dtype(tensor, *COMMON, *UNSIGNED)
    require_max_rank(a.condition, a.self, a.other, a.out)
    promoted(a.self.dtype, a.other.dtype)
    require_broadcast(a.out, a.condition, a.self, a.other)


MASKED = (BOOL, INT8, INT32, INT64, *REALS[:3])


def fill_masked(name: str, kind: str) -> None:
    def compute(a: Any) -> None:
        value = operand(a.value, a.selfRef.dtype)
        store(a.selfRef, np.where(a.mask.array, value, a.selfRef.wide()))

    def limits(a: Any) -> None:
        require_dtype(a.selfRef, *MASKED)
        require_dtype(a.mask, BOOL)
        if kind == "tensor":
            require_dtype(a.value, *MASKED)
            require_rank(a.value, 0)
        # A scalar is converted on the host: MindSpore's are float64, which the document's list of dtypes leaves out.
        value = dtype_of(a.value)
        require(
            is_convertible(value, a.selfRef.dtype),
            f"value: dtype {value}, not convertible to that of selfRef, {a.selfRef.dtype}",
        )
        require_max_rank(a.selfRef, a.mask)
        require_broadcast(a.selfRef, a.selfRef, a.mask)

    aclnn(f"aclnn{name}(selfRef: tensor, mask: tensor, value: {kind})", doc=f"aclnn{name}")(compute).limits(limits)


fill_masked("InplaceMaskedFillScalar", "scalar")
fill_masked("InplaceMaskedFillTensor", "tensor")
