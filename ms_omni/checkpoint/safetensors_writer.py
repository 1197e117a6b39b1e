"""Writes one safetensors file array by array: its header first, so that no more than one array is in memory.

(The package safetensors wants all arrays of a file at once.) The format: 8 bytes with the length of a JSON header,
little-endian; the header, padded with spaces to a multiple of 8 bytes; the values, one array behind the other
(github.com/huggingface/safetensors, "Format")."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.checkpoint.safetensors_file import DTYPES, PREFIX_BYTES

_ALIGNMENT = 8
_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

# dtype and shape
Kind = tuple[np.dtype, tuple[int, ...]]


def num_bytes(kind: Kind) -> int:
    """Bytes of an array."""
    dtype, shape = kind
    return math.prod(shape) * dtype.itemsize


def write_safetensors(path: Path, kinds: Mapping[str, Kind], arrays: Iterable[np.ndarray]) -> None:
    """kinds: of the arrays, in their order. Each is written before the next is asked for. In the file larger types come
    first, so that every array begins at a multiple of its values' size. The file is there whole or not at all. Raises
    OSError where the disk refuses."""
    header, offsets = _layout(kinds)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(header)
            for (name, (dtype, shape)), array in zip(kinds.items(), arrays, strict=True):
                assert (array.dtype, array.shape) == (dtype, shape), name
                file.seek(offsets[name])
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def index_content(shards: Mapping[str, Mapping[str, Kind]]) -> dict[str, Any]:
    """What model.safetensors.index.json says. shards: by file name, the kinds of its arrays."""
    weight_map = {name: file for file, kinds in shards.items() for name in kinds}
    total = sum(num_bytes(kind) for kinds in shards.values() for kind in kinds.values())
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}


def _layout(kinds: Mapping[str, Kind]) -> tuple[bytes, dict[str, int]]:
    """What a file begins with, and where each array begins in it."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers reads no file without it
    end = 0
    for name, kind in sorted(kinds.items(), key=lambda item: -item[1][0].itemsize):
        start, end = end, end + num_bytes(kind)
        entries[name] = {"dtype": _NAMES[kind[0]], "shape": list(kind[1]), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    begin = PREFIX_BYTES + len(text)
    header = len(text).to_bytes(PREFIX_BYTES, "little") + text
    return header, {name: begin + entries[name]["data_offsets"][0] for name in kinds}
