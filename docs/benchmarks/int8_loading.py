"""How long weights in 8 bits take to read: rounded while they are read, and stored in 8 bits by `ms-omni quantize`. In
turns, out of the page cache, copied as a load copies them: a layer of the released Thinker, 1.2 GB, or a whole preset.

    python docs/benchmarks/int8_loading.py [--preset layer|bench|tiny] [--dtype bfloat16] [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.checkpoint.int8_reader import Int8Reader
from ms_omni.checkpoint.quantize import quantize_checkpoint
from ms_omni.checkpoint.stored_reader import open_checkpoint
from ms_omni.checkpoint.tiny import write_tiny


def write_layer(directory: Path, dtype: str) -> Path:
    """A layer of the Thinker with the released sizes, of random values."""
    import mindspore as ms

    from ms_omni.acceptance.released import RandomCheckpoint, released_config
    from ms_omni.checkpoint.safetensors_writer import write_safetensors

    weights = RandomCheckpoint(released_config(quick=False), getattr(ms, dtype))
    names = [name for name in weights.names() if name.startswith("thinker.model.layers.0.")]
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    kinds = {name: (weights.dtype(name), weights.shape(name)) for name in names}
    write_safetensors(directory / "model.safetensors", kinds, (weights.read(name) for name in names))
    return directory


def read_all(directory: Path) -> tuple[float, float]:
    """Seconds by the clock, and of this process's cores."""
    wall, cpu = time.perf_counter(), time.process_time()
    reader: Any = Int8Reader(open_checkpoint(directory))
    for name in reader.names():
        np.array(reader.read(name))
        reader.release(name)
    return time.perf_counter() - wall, time.process_time() - cpu


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="layer")
    parser.add_argument("--dtype", default="bfloat16", help="of the checkpoint's floats")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        floats = Path(folder) / "floats"
        if options.preset == "layer":
            write_layer(floats, options.dtype)
        else:
            write_tiny(floats, options.preset, dtype=options.dtype)
        stored = Path(folder) / "int8"
        quantize_checkpoint(floats, stored)
        read_all(floats), read_all(stored)
        rounds = [(read_all(floats), read_all(stored)) for _ in range(options.rounds)]
    print(f"{options.preset}, {options.dtype}: median (smallest to largest) of {options.rounds} rounds")
    for number, kind in enumerate(("wall", "core")):
        rounding, reading = ([pair[way][number] for pair in rounds] for way in (0, 1))
        ratios = [one / other for one, other in zip(reading, rounding, strict=True)]
        print(f"{kind} s: rounded {spread(rounding)}, stored {spread(reading)}, ratio {spread(ratios)}")


if __name__ == "__main__":
    main()
