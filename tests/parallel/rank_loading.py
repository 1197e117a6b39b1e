"""Runs under msrun as every rank: how much memory loading its part of a checkpoint takes.

rank_loading.py OUT_DIR CHECKPOINT ENGINE MODE
"""

import json
import sys
from pathlib import Path

from ranks import parameter_bytes

from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.kernels import setup_device
from ms_omni.parallel.start import start_world


def resident_bytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main():
    out_dir, checkpoint, engine, mode = Path(sys.argv[1]), *sys.argv[2:5]
    setup_device("CPU")
    world = start_world("CPU")
    import mindspore as ms

    from ms_omni.runtime.fused_executor import FusedExecutor  # what importing takes is not loading
    from ms_omni.runtime.mindone_executor import MindoneExecutor

    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    options = {"dtype": ms.float32, "attn_implementation": "eager", "with_talker": True}
    kind = FusedExecutor if engine == "fused" else MindoneExecutor
    executor = kind(Path(checkpoint), "CPU", parallel=mode, world=world, **options)
    peak = resident_bytes("VmHWM")
    reader = CheckpointReader(checkpoint)
    report = {
        "grown_bytes": peak - before,
        "parameter_bytes": parameter_bytes(executor),
        "checkpoint_bytes": reader.nbytes,
        "largest_bytes": max(reader.read(name).nbytes for name in reader.names()),
    }
    (out_dir / f"rank_{world.rank}.json").write_text(json.dumps(report))


main()
