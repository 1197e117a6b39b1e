"""Qwen3-Omni on Ascend NPUs with MindSpore, and on a CPU to try it. Importing it does not import MindSpore."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ms_omni.mindone_import import import_few_models
from ms_omni.openblas import limit_spinning

if TYPE_CHECKING:  # what type checkers and editors see of the names below
    from ms_omni.config import EngineConfig, SamplingParams
    from ms_omni.engine import OmniEngine
    from ms_omni.errors import OmniError
    from ms_omni.inputs.access import MediaAccess
    from ms_omni.inputs.cast import cast_inputs
    from ms_omni.inputs.mm_info import process_mm_info
    from ms_omni.mindone_model import load_model, load_processor
    from ms_omni.outputs import AudioChunk, AudioOutput, OmniOutput, StreamEnd, TextDelta
    from ms_omni.parallel.shard_model import shard_model
    from ms_omni.scheduling.request import EngineStopped, RequestCancelled, RequestHandle, StepFailed

    __version__: str

_EXPORTS = {
    "OmniEngine": "ms_omni.engine",
    "SamplingParams": "ms_omni.config",
    "EngineConfig": "ms_omni.config",
    "OmniOutput": "ms_omni.outputs",
    "AudioOutput": "ms_omni.outputs",
    "TextDelta": "ms_omni.outputs",
    "AudioChunk": "ms_omni.outputs",
    "StreamEnd": "ms_omni.outputs",
    "RequestHandle": "ms_omni.scheduling.request",
    "RequestCancelled": "ms_omni.scheduling.request",
    "EngineStopped": "ms_omni.scheduling.request",
    "StepFailed": "ms_omni.scheduling.request",
    "OmniError": "ms_omni.errors",
    "cast_inputs": "ms_omni.inputs.cast",
    "process_mm_info": "ms_omni.inputs.mm_info",
    "MediaAccess": "ms_omni.inputs.access",
    "load_model": "ms_omni.mindone_model",
    "load_processor": "ms_omni.mindone_model",
    "shard_model": "ms_omni.parallel.shard_model",
}

__all__ = [
    "AudioChunk",
    "AudioOutput",
    "EngineConfig",
    "EngineStopped",
    "MediaAccess",
    "OmniEngine",
    "OmniError",
    "OmniOutput",
    "RequestCancelled",
    "RequestHandle",
    "SamplingParams",
    "StepFailed",
    "StreamEnd",
    "TextDelta",
    "__version__",
    "cast_inputs",
    "load_model",
    "load_processor",
    "process_mm_info",
    "shard_model",
]

import_few_models()
# transformers would warn that neither PyTorch nor TensorFlow is installed: neither is needed here
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
limit_spinning()


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module 'ms_omni' has no attribute {name!r}")


def _version() -> str:
    """As pyproject.toml says it, read from the installed package."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ms-omni")
    except PackageNotFoundError:
        return "0+not-installed"
