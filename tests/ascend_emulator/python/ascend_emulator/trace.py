"""What the emulated card was asked to do: counts, and the lines of EMULATED_TRACE for launches."""

from __future__ import annotations

import ctypes
import json
from types import SimpleNamespace
from typing import Any

import numpy as np

from ascend_emulator.device_tensor import DeviceTensor


def counts() -> dict[str, int]:
    """How often each thing was done since the start or reset(): "aclnn aclnnAdd", "aclop Cast", "internal Gather",
    "replayed aclnn aclnnAdd" (by a captured graph), "copy host to device", "synchronize stream", "hccl AllReduce",
    "capture begin", "malloc", "fill", "stub NAME"."""
    return {name: times for name, times, _ in _entries()}


def num_bytes() -> dict[str, int]:
    """Bytes of the copies, fills, collectives and allocations, by the names of counts()."""
    return {name: size for name, _, size in _entries() if size}


def launches() -> dict[str, int]:
    """The part of counts() that are operators, launched by the host."""
    return {name: times for name, times in counts().items() if name.split()[0] in ("aclnn", "aclop", "internal")}


def reset() -> None:
    ctypes.CDLL(None).emulated_reset_counts()


def _entries() -> list[tuple[str, int, int]]:
    library = ctypes.CDLL(None)
    library.emulated_counts.restype = ctypes.c_long
    library.emulated_counts.argtypes = [ctypes.c_char_p, ctypes.c_long]
    buffer = ctypes.create_string_buffer(1 << 16)
    length = library.emulated_counts(buffer, len(buffer))
    if length >= len(buffer):
        buffer = ctypes.create_string_buffer(length + (1 << 16))
        library.emulated_counts(buffer, len(buffer))
    lines = (line.split("\t") for line in buffer.value.decode().splitlines())
    return [(name, int(times), int(size)) for name, times, size in lines]


def note_launch(kind: str, name: str, given: SimpleNamespace) -> None:
    """Writes a line for a launch. given: the operator's argument object."""
    fields = {"event": "launch", "kind": kind, "name": name, **_plain(vars(given))}
    ctypes.CDLL(None).emulated_trace(json.dumps(fields)[1:-1].encode())


def _plain(value: Any) -> Any:
    if isinstance(value, DeviceTensor):
        return {"dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.dtype):
        return str(value)
    return value if isinstance(value, int | float | str | None) else str(value)
