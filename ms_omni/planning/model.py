"""Reads the configuration that a plan is made for: a checkpoint's, a config.json, or a released model's by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms_omni.checkpoint.config import MODEL_TYPE, quiet_transformers, read_config, read_json
from ms_omni.checkpoint.resolve import resolve_checkpoint
from ms_omni.errors import OmniError

if TYPE_CHECKING:
    from transformers import Qwen3OmniMoeConfig

RELEASED_DIR = Path(__file__).parents[1] / "assets" / "released"  # a link to configs/released
RELEASED = ("instruct", "thinking", "captioner")


def plan_config(model: str) -> Qwen3OmniMoeConfig:
    """The configuration of `model`: a directory, a config.json, one of RELEASED or its hub name (both need no
    checkpoint). Raises OmniError when it is none of these."""
    path = Path(model).expanduser()
    released = released_name(model)
    if path.is_file():
        return _from_content(path, read_json(path))
    if released is not None and not path.is_dir():
        file = RELEASED_DIR / f"{released}.json"
        return _from_content(file, read_json(file))
    try:
        return read_config(resolve_checkpoint(model))
    except OmniError as error:
        if path.is_dir():
            raise
        raise OmniError(f"{error}; without a checkpoint: one of {', '.join(RELEASED)}") from error


def released_name(model: str) -> str | None:
    """Which of RELEASED is meant by its own name or by "Qwen/Qwen3-Omni-30B-A3B-Instruct" and the like."""
    short = model.rsplit("/", 1)[-1].lower().removeprefix("qwen3-omni-30b-a3b-")
    return short if short in RELEASED else None


def _from_content(path: Path, content: dict[str, Any]) -> Qwen3OmniMoeConfig:
    if content.get("model_type") != MODEL_TYPE:
        raise OmniError(f"--model {path}: model_type is {content.get('model_type')!r}; expected {MODEL_TYPE!r}")
    from transformers import Qwen3OmniMoeConfig

    try:
        with quiet_transformers():
            return Qwen3OmniMoeConfig.from_dict(content)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise OmniError(f"--model {path}: not a valid configuration ({error})") from error
