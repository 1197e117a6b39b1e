"""Writing into caches: aclnnInplaceScatterUpdate."""

from __future__ import annotations

from ascend_emulator.device_tensor import (
    FLOATS,
    INT8,
    INT32,
    INT64,
    UINT8,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

UNIFIED_BUFFER = 192 << 10  # bytes of one vector core of A2 and A3 cards


@aclnn(
    "aclnnInplaceScatterUpdate(data: tensor, indices: tensor, updates: tensor, axis: int)",
    doc="CANN 8.3.RC1, aclnnInplaceScatterUpdate",
)
def inplace_scatter_update(a):
    """indices: for each row of updates the place on the axis; of two columns, the row of data and the place."""
    axis = a.axis % a.data.ndim
    places = a.indices.array.reshape(-1, 2) if a.indices.ndim == 2 else a.indices.array.reshape(-1)
    width, size = a.updates.shape[axis], a.data.shape[axis]
    for i in range(a.updates.shape[0]):
        row, begin = (int(n) for n in places[i]) if a.indices.ndim == 2 else (i, int(places[i]))
        # Device memory, so asked here: neither negative nor beyond the end
        require(
            0 <= row < a.data.shape[0] and 0 <= begin <= size - width,
            f"indices: {places[i]}, allowed on axis {axis}: 0 to {size} - {width}",
        )
        target = [slice(None)] * a.data.ndim
        target[axis] = slice(begin, begin + width)
        target[0] = row
        a.data.array[tuple(target)] = a.updates.array[i]


@inplace_scatter_update.limits
def _(a):
    require_dtype(a.data, INT8, UINT8, INT32, *FLOATS)
    require_dtype(a.indices, INT32, INT64)
    require_same_dtype(a.data, a.updates)
    require_rank(a.data, 2, 8)
    require_rank(a.indices, 0, 2)
    require_rank(a.updates, a.data.ndim)
    for tensor in (a.data, a.indices, a.updates):
        require(tensor.size > 0, f"{tensor.name}: shape {tensor.shape}, an empty tensor is not allowed")
    rank = a.data.ndim
    require(-rank < a.axis < rank and a.axis != 0, f"axis: {a.axis}, allowed: {1 - rank} to {rank - 1} but 0")
    first = a.updates.shape[0]
    rows = a.indices.shape[0] if a.indices.ndim else 1
    require(first == rows, f"updates: first dimension {first}, expected that of indices, {rows}")
    require(
        first <= a.data.shape[0], f"updates: first dimension {first}, allowed: at most that of data, {a.data.shape[0]}"
    )
    if a.indices.ndim == 2:
        require(a.indices.shape[1] == 2, f"indices: shape {a.indices.shape}, the second dimension must be 2")
    axis = a.axis % rank
    for i in range(1, rank):
        require(
            i == axis or a.updates.shape[i] == a.data.shape[i],
            f"updates: shape {a.updates.shape}, must be that of data, {a.data.shape}, but on axes 0 and {axis}",
        )
    require(
        a.updates.shape[axis] <= a.data.shape[axis],
        f"updates: {a.updates.shape[axis]} on axis {axis}, allowed: at most that of data, {a.data.shape[axis]}",
    )
    needed = a.indices.size * a.indices.dtype.itemsize + 224
    require(needed <= UNIFIED_BUFFER, f"indices: need {needed} bytes of the unified buffer's {UNIFIED_BUFFER}")
