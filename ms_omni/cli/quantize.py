"""`ms-omni quantize`: write a checkpoint with the weights of its decoder layers in 8 bits."""

from __future__ import annotations

import argparse
from pathlib import Path

USAGE = "ms-omni quantize --model DIR --out DIR [--json]"
HELP = "write a checkpoint with 8-bit weights, which loads in less memory and time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Both checkpoints, and the format."""
    parser.add_argument(
        "--model", metavar="DIR", required=True, help="checkpoint with float weights, or a hub name in the local cache"
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="directory to write; made when it does not exist")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Write the checkpoint and say how large it is; OmniError when a directory cannot be used."""
    import json
    from dataclasses import asdict

    from ms_omni.checkpoint.quantize import quantize_checkpoint
    from ms_omni.checkpoint.resolve import resolve_checkpoint
    from ms_omni.cli.progress import make_progress
    from ms_omni.cli.resuming import goes_on

    progress = make_progress()
    try:
        written = quantize_checkpoint(resolve_checkpoint(args.model), Path(args.out), progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(goes_on()) from None
    finally:
        progress.close()
    if args.json:
        print(json.dumps({"out": args.out, **asdict(written)}))
    else:
        before, after = written.source_bytes / 1e6, written.num_bytes / 1e6
        files = f"{written.num_shards} file{'' if written.num_shards == 1 else 's'}"
        print(f"{args.out}: {written.num_int8} weights in 8 bits; {after:.1f} MB in {files}, before {before:.1f} MB")
    return 0
