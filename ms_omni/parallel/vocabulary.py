"""Embedding tables and heads of which every rank has some rows: a token's row, and the logits of all."""

from __future__ import annotations

from typing import Any, TypeGuard

from mindspore import Tensor, ops

from ms_omni.parallel.collectives import all_gather, all_reduce
from ms_omni.parallel.world import World

_matmul_t = ops.MatMul(transpose_b=True)


def lookup(weight: Any, ids: Tensor, world: World | None, num_rows: int) -> Tensor:
    """The rows of an embedding table that `ids`, int32 (n,), name: (n, hidden), the same bits as from a whole table.

    weight: (rows, hidden), this rank's rows of the `num_rows` that the table has, as the shard table parts them, zeros
    behind; or the whole table. One all_reduce where it is split. Traceable in graphs."""
    if not _is_split(world, weight, num_rows):
        return ops.gather(weight, ids, 0)
    local = ids - world.group_rank * weight.shape[0]
    is_mine = ops.logical_and(local >= 0, local < weight.shape[0])
    rows = ops.gather(weight, local * is_mine.astype(ids.dtype), 0)
    return all_reduce(rows * is_mine.astype(rows.dtype).reshape((-1, 1)), world)


def logits(x: Tensor, weight: Any, world: World | None, num_rows: int) -> Tensor:
    """x @ weight.T over all rows of a head: x (n, hidden) to (n, num_rows), on every rank. weight: as in `lookup`. One
    all_gather of logits, no weight, where it is split. Traceable in graphs."""
    if not _is_split(world, weight, num_rows):
        return _matmul_t(x, weight)
    # all_gather joins along the first axis
    gathered = all_gather(ops.transpose(_matmul_t(x, weight), (1, 0)), world)
    # On Ascend a slice is a legacy operator, so there is none where ranks have equal parts
    whole = gathered if gathered.shape[0] == num_rows else gathered[:num_rows]
    return ops.transpose(whole, (1, 0))


def _is_split(world: World | None, weight: Any, num_rows: int) -> TypeGuard[World]:
    """By its length: the shard table leaves some tables of a split model whole."""
    return world is not None and world.group_size > 1 and weight.shape[0] < num_rows
