"""Clamping to numbers or tensors."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import BOOL, require_dtype, require_shape
from ascend_emulator.promotion import (
    INTEGERS,
    REALS,
    operand,
    promoted,
    require_broadcast,
    require_convertible,
    require_max_rank,
    require_scalar_dtype,
    store,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

NOT_COMPLEX = (*REALS, *INTEGERS, BOOL)
BOUNDS = ("clipValueMin", "clipValueMax")


@aclnn("aclnnClamp(self: tensor, clipValueMin: scalar?, clipValueMax: scalar?, out: tensor)", doc="aclnnClamp")
def clamp(a):
    values = a.self.wide()
    if a.clipValueMin is not None:
        values = np.maximum(values, operand(a.clipValueMin, a.self.dtype))
    if a.clipValueMax is not None:
        values = np.minimum(values, operand(a.clipValueMax, a.self.dtype))
    store(a.out, values)


@clamp.limits
def _(a):
    require_dtype(a.self, *REALS, *INTEGERS)
    require_dtype(a.out, *REALS, *INTEGERS)
    require_max_rank(a.self)
    require_shape(a.out, a.self.shape)
    given = [name for name in BOUNDS if getattr(a, name) is not None]
    require(given, "clipValueMin and clipValueMax: both absent")
    for name in given:
        require_scalar_dtype(name, getattr(a, name), *NOT_COMPLEX)


@aclnn(
    "aclnnClampTensor(self: tensor, clipValueMin: tensor, clipValueMax: tensor, out: tensor)", doc="aclnnClampTensor"
)
def clamp_to_tensors(a):
    dtype = promoted(a.self.dtype, a.clipValueMin.dtype, a.clipValueMax.dtype)
    values = np.minimum(operand(a.self, dtype), operand(a.clipValueMax, dtype))
    store(a.out, np.maximum(values, operand(a.clipValueMin, dtype)))


@clamp_to_tensors.limits
def _(a):
    bounds = (a.clipValueMin, a.clipValueMax)
    require_dtype(a.self, *REALS, *INTEGERS)
    require_dtype(a.out, *REALS, *INTEGERS)
    for tensor in bounds:
        require_dtype(tensor, *NOT_COMPLEX)
    require_max_rank(a.self, *bounds, a.out)
    require_convertible(promoted(a.self.dtype, *(tensor.dtype for tensor in bounds)), a.out)
    require_broadcast(a.out, a.self, *bounds)
