"""Finds the checkpoint directory that a user means: a local path, or a hub name in a local download cache."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ms_omni.checkpoint import built_in
from ms_omni.checkpoint.config import check_model_type
from ms_omni.errors import OmniError

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve_checkpoint(name_or_path: str | Path) -> Path:
    """Directory of a Qwen3-Omni checkpoint. "built-in" is the tiny one of this package. A hub name
    (`Qwen/Qwen3-Omni-30B-A3B-Instruct`) is looked up in the caches of huggingface_hub and ModelScope; nothing is
    downloaded. OmniError says what is wrong and what to do."""
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        check_model_type(path)
        return path
    if path.exists():
        raise OmniError(f"--model {name_or_path}: is a file; give the checkpoint's directory")
    name = str(name_or_path)
    if name == built_in.NAME:
        return built_in.DIRECTORY
    if not _HUB_NAME.fullmatch(name):
        raise OmniError(f"--model {name}: no such directory; {built_in.NAME} is the tiny model of this package")
    for snapshot in (*_hugging_face_snapshots(name), *_modelscope_snapshots(name)):
        if snapshot.is_dir():
            check_model_type(snapshot)
            return snapshot
    raise OmniError(
        f"--model {name}: no such directory, and not in the local hub cache; download it with "
        f"'hf download {name}' or give a local directory"
    )


def _hugging_face_snapshots(name: str) -> Iterator[Path]:
    from huggingface_hub import constants

    repository = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if reference.is_file():
        yield repository / "snapshots" / reference.read_text(encoding="utf-8").strip()


def _modelscope_snapshots(name: str) -> Iterator[Path]:
    """ModelScope keeps plain directories; it writes a dot in a name as three underscores."""
    root = Path(os.environ.get("MODELSCOPE_CACHE", Path.home() / ".cache" / "modelscope"))
    for base in (root / "hub" / "models", root / "models", root / "hub"):
        yield base / name.replace(".", "___")
        yield base / name
