"""Collectives: every rank sends other values and knows what it must receive, so a wrong root, order or group shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.compare import equal
from ms_omni.acceptance.findings import Finding, Skipped
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.parallel import collectives
from ms_omni.parallel.world import World

DTYPES = ("bfloat16", "float16", "float32", "int32", "int8")
# Rows that each rank sends to each rank, and the size of a hidden state
ROWS, WIDTH = 3, 2048
# (what each member of the group sends, this rank's place among them) -> what it must receive
Right = Callable[[list[np.ndarray], int], np.ndarray]


def run(bench: Bench) -> None:
    """All ranks together, and in two groups where each has several."""
    size = bench.world.world_size
    if size == 1:
        bench.check("between cards", _one_card)
        return
    _run_in(bench, "all ranks", size)
    if size < 4 or size % 2:
        bench.check("two groups", _too_few)
    else:
        _run_in(bench, "two groups", size // 2)


def _one_card() -> Finding:
    raise Skipped("one card; with several: ms-omni launch --cards N -- accept")


def _too_few() -> Finding:
    raise Skipped("two groups of several cards need an even number from 4: ms-omni launch --cards 4 -- accept")


def _run_in(bench: Bench, where: str, group_size: int) -> None:
    world = bench.world
    if world.group_size != group_size:
        world = collectives.connect(replace(world, group_size=group_size, ops=None))
    options = decoder_ops(bench.device).JIT_OPTIONS
    for dtype in DTYPES:
        for kind, (function, right) in KINDS.items():
            if dtype == "int8" and kind == "all_reduce":
                continue  # 8-bit weights are never summed
            work = partial(_compare, world, options, dtype, partial(function, world=world), right)
            bench.check(f"{where}: {kind}, {dtype}", work)
        for root in range(group_size):
            broadcast = partial(collectives.broadcast, world=world, root=root)
            work = partial(_compare, world, options, dtype, broadcast, partial(_right_broadcast, root))
            bench.check(f"{where}: broadcast from rank {root} of the group, {dtype}", work)


def _compare(
    world: World, options: dict[str, Any], dtype: str, function: Callable[[Tensor], Tensor], right: Right
) -> Finding:
    """Outside of graphs and in one. The values and their sums are whole numbers that every dtype represents exactly."""
    x = Tensor(_given(world.rank, world.group_size).astype(np.float32)).astype(getattr(ms, dtype))
    members = [_given(rank, world.group_size) for rank in world.group_ranks]
    expected = right(members, world.group_rank)

    def graph(tensor: Tensor) -> Tensor:
        return function(tensor)

    made = [function(x), ms.jit(graph, **options)(x)]
    return equal([(tensor, expected) for tensor in made], "values, outside of graphs and in one")


def _given(rank: int, group_size: int) -> np.ndarray:
    """What a rank sends: ROWS rows for each rank of its group, different from all other ranks'."""
    rows, columns = np.indices((ROWS * group_size, WIDTH))
    return (5 * rank + 3 * rows + columns) % 13 + 1


def _right_reduce(members: list[np.ndarray], group_rank: int) -> np.ndarray:
    return np.sum(members, axis=0)


def _right_gather(members: list[np.ndarray], group_rank: int) -> np.ndarray:
    return np.concatenate(members)


def _right_exchange(members: list[np.ndarray], group_rank: int) -> np.ndarray:
    part = slice(ROWS * group_rank, ROWS * (group_rank + 1))
    return np.concatenate([member[part] for member in members])


def _right_broadcast(root: int, members: list[np.ndarray], group_rank: int) -> np.ndarray:
    return members[root]


KINDS: dict[str, tuple[Callable[..., Tensor], Right]] = {
    "all_reduce": (collectives.all_reduce, _right_reduce),
    "all_gather": (collectives.all_gather, _right_gather),
    "all_to_all": (collectives.all_to_all, _right_exchange),
}
