"""Embedding tables and heads whose rows are split over ranks: looking rows up, and computing all logits."""

from __future__ import annotations

from typing import Any, TypeGuard

from mindspore import Tensor, ops

from ms_omni.parallel.collectives import all_gather, all_reduce
from ms_omni.parallel.world import World

_matmul_t = ops.MatMul(transpose_b=True)


def lookup(weight: Any, ids: Tensor, world: World | None, num_rows: int) -> Tensor:
    """The rows of an embedding table that `ids`, int32 (n,), name: (n, hidden), the same bits as from a whole table.

    weight: (rows, hidden), this rank's part of the table's `num_rows` rows, padded with zeros as the shard table says;
    or the whole table. One all_reduce if it is split. Traceable in graphs."""
    if not is_split(world, weight.shape[0], num_rows):
        return ops.gather(weight, ids, 0)
    local = ids - world.group_rank * weight.shape[0]
    is_mine = ops.logical_and(local >= 0, local < weight.shape[0])
    rows = ops.gather(weight, local * is_mine.astype(ids.dtype), 0)
    return all_reduce(rows * is_mine.astype(rows.dtype).reshape((-1, 1)), world)


def logits(x: Tensor, weight: Any, world: World | None, num_rows: int) -> Tensor:
    """x @ weight.T over all rows of a head: x (n, hidden) to (n, num_rows), on every rank. weight: as in `lookup`. One
    all_gather of logits, no weight, where it is split. Traceable in graphs."""
    return joined(_matmul_t(x, weight), world, num_rows)


def joined(scores: Tensor, world: World | None, num_rows: int) -> Tensor:
    """scores: (n, rows), of this rank's rows of a head, or of all. (n, num_rows), on every rank. Traceable in
    graphs."""
    if not is_split(world, scores.shape[1], num_rows):
        return scores
    # all_gather joins along the first axis
    gathered = all_gather(ops.transpose(scores, (1, 0)), world)
    return ops.transpose(_first(gathered, num_rows), (1, 0))


def whole(weight: Any, world: World | None, num_rows: int) -> Tensor:
    """All rows of a table or a head, (num_rows, hidden): one all_gather where it is split. Traceable in graphs."""
    if not is_split(world, weight.shape[0], num_rows):
        return weight
    return _first(all_gather(weight, world), num_rows)


def _first(rows: Tensor, count: int) -> Tensor:
    """The first rows; no slice, which is a legacy operator on Ascend, if that is all of them."""
    return rows if rows.shape[0] == count else rows[:count]


def is_split(world: World | None, length: int, num_rows: int) -> TypeGuard[World]:
    """Whether a table is split. length: rows of this rank's part. The shard table leaves some tables of a model
    whole."""
    return world is not None and world.group_size > 1 and length < num_rows
