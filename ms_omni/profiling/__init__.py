"""Measures answers: stages, tokens per second, memory, collectives; and reports the figures."""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "profile": "ms_omni.profiling.api",
    "Measurement": "ms_omni.profiling.measure",
    "EngineSide": "ms_omni.profiling.sides",
    "Task": "ms_omni.profiling.task",
    "Profile": "ms_omni.profiling.document",
}

__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: MindSpore and pydantic take seconds."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'ms_omni.profiling' has no attribute {name!r}")
