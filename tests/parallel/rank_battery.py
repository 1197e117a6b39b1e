"""Runs under msrun as every rank: calls each collective eagerly and compiled, and writes what came out to a file.

    rank_battery.py OUT_DIR

The tests compare; this only reports.
"""

import json
import sys
from pathlib import Path

import mindspore as ms
import numpy as np

from ms_omni.parallel.start import start_world

DTYPES = ("float32", "float16", "bfloat16", "int32", "int64", "bool_")
KINDS = ("all_reduce", "all_gather", "broadcast", "all_to_all")
NUM_LAYERS = 3
HIDDEN = 8


class Program:
    """Each collective as a method, which ms.jit can compile, and a decoder-like step with a known number of them."""

    def __init__(self, world, collectives):
        self.world = world
        self.collectives = collectives
        self.weights = [ms.Parameter(ms.Tensor(np.eye(HIDDEN, dtype=np.float32)), name=f"w{i}") for i in range(3)]

    def all_reduce(self, x):
        return self.collectives.all_reduce(x, self.world)

    def all_gather(self, x):
        return self.collectives.all_gather(x, self.world)

    def broadcast(self, x):
        return self.collectives.broadcast(x, self.world, 1)

    def all_to_all(self, x):
        return self.collectives.all_to_all(x, self.world)

    def step(self, x, token):
        for weight in self.weights:
            x = x + self.collectives.all_reduce(ms.ops.matmul(x, weight), self.world)
        gathered = self.collectives.all_gather(x.astype(ms.bfloat16), self.world)
        return gathered.astype(ms.float32), self.collectives.broadcast(token, self.world)


def main():
    ms.set_device("CPU")
    ms.runtime.launch_blocking()
    world = start_world("CPU")
    from ms_omni.parallel import collectives, graph_counts

    program = Program(world, collectives)
    report = {"world": [world.rank, world.world_size, world.group_size, world.group], "results": {}}
    for dtype in DTYPES:
        x = ms.Tensor(np.full((2, 3), world.rank + 1)).astype(getattr(ms, dtype))
        for kind in KINDS:
            eager = getattr(program, kind)
            for how, function in (("eager", eager), ("graph", ms.jit(eager, jit_level="O0"))):
                y = function(x)
                assert y.dtype == x.dtype, (kind, dtype, how, y.dtype)
                report["results"][f"{kind} {dtype} {how}"] = y.astype(ms.float32).asnumpy().tolist()
    x, token = ms.Tensor(np.ones((1, HIDDEN), np.float32)), ms.Tensor([world.rank + 7], ms.int64)
    collectives.reset_counts()
    program.step(x, token)
    report["eager_counts"] = [[c.kind, c.calls, c.bytes] for c in collectives.counts()]
    before = graph_counts.compiled_graphs()
    ms.jit(program.step, jit_level="O0")(x, token)[1].asnumpy()
    new = graph_counts.compiled_graphs() - before
    report["graph_counts"] = [[c.kind, c.calls, c.bytes] for c in graph_counts.graph_counts(new)]
    report["counts_after_graph"] = [[c.kind, c.calls, c.bytes] for c in collectives.counts()]
    (Path(sys.argv[1]) / f"rank_{world.rank}.json").write_text(json.dumps(report))
    if world.is_writer:
        print("battery done")


main()
