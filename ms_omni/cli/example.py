"""`ms-omni example`: media that the built-in model knows, and a conversation about them."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from ms_omni.checkpoint import built_in
from ms_omni.errors import OmniError

USAGE = "ms-omni example [DIR]"
HELP = "write a picture, a sound, a video and a conversation about them, to try everything with"

MEDIA = {"image": "shapes.png", "audio": "words.wav", "video": "ball.mp4"}
_QUESTION = "What do you see and hear?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The directory."""
    parser.add_argument(
        "dir", metavar="DIR", nargs="?", default="example", help="directory to write; made when it does not exist"
    )


def run(args: argparse.Namespace) -> int:
    """Write the files and say what each is; OmniError when DIR cannot be written."""
    directory = Path(args.dir)
    parts = [{"type": kind, kind: name} for kind, name in MEDIA.items()] + [{"type": "text", "text": _QUESTION}]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in MEDIA.values():
            shutil.copyfile(built_in.DIRECTORY.parent / f"tiny_{name}", directory / name)
        text = json.dumps([{"role": "user", "content": parts}], indent=2)
        (directory / "conversation.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OmniError(f"{directory}: cannot be written ({error.strerror})") from error
    print(f"{directory / 'shapes.png'}: a red circle, a blue square, a yellow triangle")
    print(f"{directory / 'words.wav'}: a voice says: hello seven")
    print(f"{directory / 'ball.mp4'}: a red circle moves to the right, a voice says: go right")
    print(f"{directory / 'conversation.json'}: all three, and the question {_QUESTION!r}")
    return 0
