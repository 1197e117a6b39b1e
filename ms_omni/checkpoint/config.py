"""Reads config.json and generation_config.json of a checkpoint directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms_omni.errors import OmniError
from ms_omni.files import parse_json, read_text

if TYPE_CHECKING:
    from transformers import Qwen3OmniMoeConfig

MODEL_TYPE = "qwen3_omni_moe"
# In a directory that `ms-omni quantize` has not finished: what it is made from
QUANTIZE_MARKER = "ms_omni_quantize.json"


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. OmniError when it cannot be read or is something else."""
    text = read_text(path, str(path))
    try:
        data = parse_json(text, str(path))
    except OmniError as error:
        raise OmniError(f"{error}; download the file again") from error
    if not isinstance(data, dict):
        raise OmniError(f"{path}: expected a JSON object, got {type(data).__name__}")
    return data


def check_model_type(directory: Path) -> dict[str, Any]:
    """The content of config.json, which must be that of a Qwen3-Omni model."""
    path = directory / "config.json"
    if not path.is_file():
        if (directory / QUANTIZE_MARKER).is_file():
            raise OmniError(f"--model {directory}: ms-omni quantize has not finished it; the same command goes on")
        raise OmniError(f"--model {directory}: no config.json there; give a Qwen3-Omni checkpoint directory")
    config = read_json(path)
    found = config.get("model_type")
    if found != MODEL_TYPE:
        raise OmniError(f"--model {directory}: model_type in config.json is {found!r}; expected {MODEL_TYPE!r}")
    return config


def has_talker(config: dict[str, Any]) -> bool:
    """Of the content of a config.json: whether the checkpoint speaks."""
    return bool(config.get("enable_audio_output", True)) and config.get("talker_config") is not None


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """transformers warns four times a configuration that it does not know "mrope_section", which every Qwen3-Omni
    config.json has."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def read_config(directory: str | Path) -> Qwen3OmniMoeConfig:
    """The configuration, as transformers' class. Checkpoints without a Talker have `enable_audio_output` false."""
    content = check_model_type(Path(directory))
    from transformers import Qwen3OmniMoeConfig

    try:
        with quiet_transformers():
            return Qwen3OmniMoeConfig.from_dict(content)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise OmniError(f"{Path(directory) / 'config.json'}: not a valid configuration ({error})") from error


def read_generation_config(directory: str | Path) -> dict[str, Any]:
    """The content of generation_config.json; empty when the checkpoint has none."""
    path = Path(directory) / "generation_config.json"
    return read_json(path) if path.exists() else {}
