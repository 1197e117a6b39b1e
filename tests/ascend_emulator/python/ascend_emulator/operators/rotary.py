"""Rotary position embedding: aclnnApplyRotaryPosEmb (both in place) and aclnnRotaryPositionEmbedding (one tensor)."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import (
    BFLOAT16,
    FLOATS,
    require_contiguous,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

UNIFIED_BUFFER = 192 << 10  # bytes of one vector core of A2 and A3 cards
HALF, INTERLEAVED = 0, 1


def rotated(x: np.ndarray, mode: int = HALF) -> np.ndarray:
    """(-second, first) of the two halves of the last axis, or of the values in even and in odd places."""
    if mode == HALF:
        first, second = np.split(x, 2, axis=-1)
        return np.concatenate([-second, first], axis=-1)
    return np.stack([-x[..., 1::2], x[..., ::2]], axis=-1).reshape(x.shape)


@aclnn(
    "aclnnApplyRotaryPosEmb(queryRef: tensor, keyRef: tensor, cos: tensor, sin: tensor, layout: int)",
    doc="CANN 8.3.RC1, aclnnApplyRotaryPosEmb",
)
def apply_rotary_pos_emb(a):
    cos, sin = a.cos.wide(), a.sin.wide()
    for tensor in (a.queryRef, a.keyRef):
        x = tensor.wide()
        tensor.put(x * cos + rotated(x) * sin)


@apply_rotary_pos_emb.limits
def _(a):
    tensors = (a.queryRef, a.keyRef, a.cos, a.sin)
    require_dtype(a.queryRef, *FLOATS)
    require_same_dtype(*tensors)
    for tensor in tensors:
        require_rank(tensor, 4)
        require(tensor.size > 0, f"{tensor.name}: shape {tensor.shape}, an empty tensor is not allowed")
        require(tensor.shape[3] == 128, f"{tensor.name}: D {tensor.shape[3]}, must be 128")
        require(
            tensor.shape[:2] == a.queryRef.shape[:2],
            f"{tensor.name}: shape {tensor.shape}, B and S must be those of queryRef, {a.queryRef.shape[:2]}",
        )
    require(a.layout == 1, f"layout: {a.layout}, allowed: 1 (BSND)")
    for tensor in (a.cos, a.sin):
        require(tensor.shape[2] == 1, f"{tensor.name}: shape {tensor.shape}, N must be 1")
    needed = _needed_buffer(a)
    require(
        needed <= UNIFIED_BUFFER,
        f"queryRef, keyRef: heads need {needed} bytes of the unified buffer's {UNIFIED_BUFFER}",
    )


def _needed_buffer(a) -> int:
    """Bytes by the document's formula: heads of query and key, each of 128 values."""
    heads, size = a.queryRef.shape[2] + a.keyRef.shape[2], a.queryRef.dtype.itemsize
    is_cast = a.queryRef.dtype == BFLOAT16
    computed = 4 if is_cast else size
    return heads * 128 * computed * 5 + 128 * size * 4 + is_cast * 128 * 4 * 2


# A3 and A2 share one list of limits; modes 2 and 3 are of other cards
@aclnn(
    "aclnnRotaryPositionEmbedding(x: tensor, cos: tensor, sin: tensor, mode: int, out: tensor)",
    doc="CANN 8.3.RC1, aclnnRotaryPositionEmbedding",
)
def rotary_position_embedding(a):
    if a.x.size == 0:
        return
    x = a.x.wide()
    a.out.put(x * a.cos.wide() + rotated(x, a.mode) * a.sin.wide())


@rotary_position_embedding.limits
def _(a):
    require_dtype(a.x, *FLOATS)
    require_same_dtype(a.x, a.cos, a.sin, a.out)
    for tensor in (a.x, a.cos, a.sin, a.out):
        require_rank(tensor, 4)
    require_contiguous(a.out)
    require_shape(a.out, a.x.shape)
    if a.x.size == 0:
        return
    require_shape(a.sin, a.cos.shape)
    require(a.mode in (HALF, INTERLEAVED), f"mode: {a.mode}, allowed: 0 (half), 1 (interleave)")
    dim = a.x.shape[3]
    require(dim < 896 and dim % 2 == 0, f"x: D {dim}, allowed: even and less than 896")
    require(a.cos.shape[3] == dim, f"cos: D {a.cos.shape[3]}, expected that of x, {dim}")
    _check_leading(a)


def _check_leading(a) -> None:
    """The first three axes of cos and sin: S as in x, B as in x or 1, N as in x or 1; which axis is S is not said, so
    any reading of x as BNSD, BSND or SBND will do."""
    x, cos = a.x.shape[:3], a.cos.shape[:3]
    for batch, heads, rows in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        few = x[batch] < 1000 and x[heads] < 1000 if a.mode == HALF else x[batch] * x[heads] < 1000
        plain = cos[rows] == x[rows] and cos[heads] == 1 and cos[batch] == 1
        of_half = cos[rows] == x[rows] and cos[batch] == x[batch] and cos[heads] in (1, x[heads])
        if few and (plain or (a.mode == HALF and of_half)):
            return
    require(
        False,
        f"cos: shape {a.cos.shape} with x {a.x.shape} and mode {a.mode}: S must be that of x, N and B 1 (mode 0: or "
        "B that of x, with N 1 or that of x); B and N less than 1000 (mode 1: their product)",
    )
