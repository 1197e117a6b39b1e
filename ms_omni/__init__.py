"""Qwen3-Omni on Ascend NPUs with MindSpore, and on a CPU to try it. Importing it does not import MindSpore."""

import os
from importlib import import_module
from typing import Any

from ms_omni.mindone_import import import_few_models

__version__ = "0.1.0"

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

__all__ = [*_EXPORTS, "__version__"]

import_few_models()
# transformers would warn that neither PyTorch nor TensorFlow is installed: neither is needed here
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'ms_omni' has no attribute {name!r}")
