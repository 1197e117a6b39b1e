"""Runs under msrun as every rank: how much memory loading its part of a checkpoint takes.

rank_loading.py OUT_DIR CHECKPOINT
"""

import json
import sys
from pathlib import Path

from ms_omni import load_model
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.kernels import setup_device
from ms_omni.parallel.world import start_world


def resident_bytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main():
    out_dir, checkpoint = Path(sys.argv[1]), sys.argv[2]
    setup_device("CPU")
    world = start_world("CPU")
    import ms_omni.models.build  # noqa: F401  what importing takes is not loading

    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    model = load_model(checkpoint, parallel="zero3", world=world)
    peak = resident_bytes("VmHWM")
    reader = CheckpointReader(checkpoint)
    report = {
        "grown_bytes": peak - before,
        "parameter_bytes": sum(parameter.nbytes for parameter in model.get_parameters()),
        "checkpoint_bytes": reader.nbytes,
        "largest_bytes": max(reader.read(name).nbytes for name in reader.names()),
    }
    (out_dir / f"rank_{world.rank}.json").write_text(json.dumps(report))


main()
