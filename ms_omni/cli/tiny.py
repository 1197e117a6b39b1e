"""`ms-omni tiny`: write a small random-weight checkpoint in the Hugging Face layout."""

from __future__ import annotations

import argparse
from pathlib import Path

from ms_omni.cli.parser import choice, whole_number

USAGE = "ms-omni tiny DIR [--seed N] [--preset tiny|bench]"
HELP = "write a small checkpoint with random weights, to try everything without a download"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The directory, and what the weights are like."""
    add = parser.add_argument
    add("dir", metavar="DIR", help="directory to write; made when it does not exist")
    add("--seed", type=whole_number(0), default=0, metavar="N", help="of the weights (default 0)")
    preset = "tiny: answers in seconds on a CPU (default); bench: larger layers, for measuring"
    add("--preset", **choice("tiny", "bench"), default="tiny", help=preset)


def run(args: argparse.Namespace) -> int:
    """Write the checkpoint and print where it is; OmniError when DIR cannot be written."""
    from ms_omni.checkpoint.tiny import write_tiny
    from ms_omni.cli.quiet import results_only_on_stdout

    with results_only_on_stdout(args.debug) as results:
        write_tiny(args.dir, preset=args.preset, seed=args.seed)
        num_bytes = sum(file.stat().st_size for file in Path(args.dir).iterdir() if file.is_file())
        results.write(f"{args.dir}: {num_bytes / 1e6:.1f} MB, random weights: its answers are noise by design\n")
    return 0
