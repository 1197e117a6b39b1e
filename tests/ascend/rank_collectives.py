"""Runs under msrun on four emulated cards as every rank: each collective in groups of two and in the whole job, eagerly
and compiled, and writes what came out to a file.

    rank_collectives.py OUT_DIR

The tests compare; this only reports.
"""

import json
import sys
from pathlib import Path

import mindspore as ms
import numpy as np

from ms_omni.kernels import setup_device
from ms_omni.parallel import collectives
from ms_omni.parallel.start import start_world
from ms_omni.parallel.world import World

DTYPES = ("float32", "float16", "bfloat16", "int32", "int64", "bool_", "int8")
KINDS = ("all_reduce", "all_gather", "broadcast", "all_to_all")
MOVED = KINDS[1:]  # of 8-bit weights, which are never summed


class Program:
    """Each collective as a method, which ms.jit can compile."""

    def __init__(self, world):
        self.world = world

    def all_reduce(self, x):
        return collectives.all_reduce(x, self.world)

    def all_gather(self, x):
        return collectives.all_gather(x, self.world)

    def broadcast(self, x):
        """From the group's last rank."""
        return collectives.broadcast(x, self.world, self.world.group_size - 1)

    def all_to_all(self, x):
        return collectives.all_to_all(x, self.world)

    def both(self, x):
        """What was broadcast, and what this rank had brought."""
        return collectives.broadcast(x, self.world), x


def values(rank, size, dtype):
    """(2 * size, 3), other ones on every rank."""
    x = np.arange(6 * size).reshape(2 * size, 3) + 10 * rank
    return x % 2 if dtype == "bool_" else x


def main():
    device = setup_device("Ascend")
    pairs = start_world(device, 2)
    whole = collectives.connect(World(pairs.rank, pairs.world_size, pairs.world_size, device))
    report = {"world": [pairs.rank, pairs.world_size, pairs.group_size, pairs.group, whole.group], "results": {}}

    def note(key, y):
        report["results"][key] = y.astype(ms.float32).asnumpy().tolist()

    for world in (pairs, whole):
        program, size = Program(world), world.group_size
        for dtype in DTYPES:
            for kind in KINDS if dtype != "int8" else MOVED:
                eager = getattr(program, kind)
                for how, function in (("eager", eager), ("graph", ms.jit(eager, jit_level="O0"))):
                    y = function(ms.Tensor(values(world.rank, size, dtype)).astype(getattr(ms, dtype)))
                    assert y.dtype == getattr(ms, dtype), (kind, dtype, how, y.dtype)
                    note(f"{size} {kind} {dtype} {how}", y)
        for how, function in (("eager", program.both), ("graph", ms.jit(program.both, jit_level="O0"))):
            sent, own = function(ms.Tensor([world.rank + 7], ms.int32))
            note(f"{size} sent {how}", sent)
            note(f"{size} own {how}", own)
    (Path(sys.argv[1]) / f"rank_{pairs.rank}.json").write_text(json.dumps(report))


main()
