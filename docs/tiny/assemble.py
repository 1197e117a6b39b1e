"""Puts the trained parts into one checkpoint directory: float16 safetensors in the Hugging Face layout.

python docs/tiny/assemble.py OUT --thinker DIR --speech DIR
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from checkpoint_files import write_files
from safetensors.numpy import load_file, save_file

NAME = "model.safetensors"


def assemble(out: Path, thinker: Path, speech: Path) -> int:
    """Writes the directory and returns the number of parameters."""
    write_files(out)
    weights = load_file(thinker / "thinker-1.safetensors") | load_file(thinker / "thinker-2.safetensors")
    weights = {name: value for name, value in weights.items() if name.startswith("thinker.")}
    for part in ("talker", "code2wav"):
        weights |= load_file(speech / f"{part}.safetensors")
    halves = {name: np.ascontiguousarray(value.astype(np.float16)) for name, value in sorted(weights.items())}
    for name, value in halves.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name} does not fit into float16")
    save_file(halves, str(out / NAME), metadata={"format": "pt"})
    (out / NAME).chmod(0o644)
    return sum(value.size for value in halves.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--thinker", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True)
    options = parser.parse_args()
    count = assemble(options.out, options.thinker, options.speech)
    print(json.dumps({"parameters": count, "bytes": (options.out / NAME).stat().st_size}))


if __name__ == "__main__":
    main()
