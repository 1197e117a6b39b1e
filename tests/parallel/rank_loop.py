"""Runs under msrun as every rank: calls collectives until something ends it.

    rank_loop.py OUT_DIR [FAIL_RANK]

Each rank leaves OUT_DIR/started_RANK with its process id. FAIL_RANK raises after the first collective.
"""

import os
import sys
from pathlib import Path

import mindspore as ms
import numpy as np

from ms_omni.errors import OmniError
from ms_omni.parallel.start import start_world


def main():
    ms.set_device("CPU")
    ms.runtime.launch_blocking()
    world = start_world("CPU")
    from ms_omni.parallel.collectives import all_reduce

    x = ms.Tensor(np.ones(4, np.float32))
    all_reduce(x, world)
    started = Path(sys.argv[1]) / f"started_{world.rank}"
    started.with_suffix(".new").write_text(str(os.getpid()))
    started.with_suffix(".new").rename(started)
    if sys.argv[2:] == [str(world.rank)]:
        raise OmniError("this rank cannot go on")
    if world.is_writer:
        print("going on")
    while True:
        all_reduce(x, world).asnumpy()


main()
