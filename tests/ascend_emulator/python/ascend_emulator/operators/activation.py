"""Activations."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import FLOATS, require_dtype, require_rank, require_same_dtype, require_shape
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn


@aclnn("aclnnSwiGlu(x: tensor, dimOptional: int, out: tensor)", doc="aclnnSwiGlu")
def swiglu(a):
    gate, up = np.split(a.x.wide(), 2, axis=a.dimOptional)
    a.out.put(gate / (1 + np.exp(-gate)) * up)


@swiglu.limits
def _(a):
    require_dtype(a.x, *FLOATS)
    require_same_dtype(a.x, a.out)
    require_rank(a.x, 1, 8)
    axis = a.dimOptional
    require(-a.x.ndim <= axis < a.x.ndim, f"dimOptional: {axis}, allowed: {-a.x.ndim} to {a.x.ndim - 1}")
    require(a.x.shape[axis] % 2 == 0, f"x: shape {a.x.shape}, dimension {axis} must be even")
    halved = list(a.x.shape)
    halved[axis] //= 2
    require_shape(a.out, tuple(halved))
