"""One safetensors file, mapped into memory: headers are read at once, values only when they are used."""

from __future__ import annotations

import json
import math
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ms_omni.errors import OmniError

DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
# The format begins with the length of its JSON header: 8 bytes, little-endian.
PREFIX_BYTES = 8


@dataclass(frozen=True)
class Entry:
    """Where one array lies in the file: `offset` in bytes from the start of the file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def count(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.count * self.dtype.itemsize


class SafetensorsFile:
    """Arrays of one file. Raises OmniError naming the file when it is truncated or not in the format."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._size = os.fstat(file.fileno()).st_size
                self.entries = self._read_header(file)
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise OmniError(f"{path}: cannot be read ({error.strerror})") from error

    def read(self, name: str) -> np.ndarray:
        """A read-only view of the mapped file; it stays valid as long as the array lives."""
        entry = self.entries[name]
        flat = np.frombuffer(self._map, dtype=entry.dtype, count=entry.count, offset=entry.offset)
        return flat.reshape(entry.shape)

    def release(self, name: str) -> None:
        """Drops the pages of an array from this process's memory; a later access reads them from the file again."""
        entry = self.entries[name]
        start = entry.offset - entry.offset % mmap.PAGESIZE
        self._map.madvise(mmap.MADV_DONTNEED, start, entry.offset + entry.nbytes - start)

    def _read_header(self, file: Any) -> dict[str, Entry]:
        length = int.from_bytes(file.read(PREFIX_BYTES), "little")
        data_start = PREFIX_BYTES + length
        if self._size < PREFIX_BYTES or data_start > self._size:
            raise self._broken("the header is cut off")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            # Larger offsets come later in the file: reading in this order is reading sequentially.
            items = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
            return {name: self._entry(name, info, data_start) for name, info in items}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._broken("the header is not that of a safetensors file") from error

    def _entry(self, name: str, info: dict[str, Any], data_start: int) -> Entry:
        if info["dtype"] not in DTYPES:
            allowed = ", ".join(DTYPES)
            raise OmniError(f"{self.path}: {name} has dtype {info['dtype']}; supported are {allowed}")
        begin, end = info["data_offsets"]
        entry = Entry(np.dtype(DTYPES[info["dtype"]]), tuple(info["shape"]), data_start + begin)
        if data_start + end > self._size:
            raise self._broken(f"it has {self._size} bytes, {name} ends at {data_start + end}")
        if entry.nbytes != end - begin:
            raise self._broken(f"the size of {name} does not fit its shape")
        return entry

    def _broken(self, reason: str) -> OmniError:
        return OmniError(f"{self.path}: truncated or corrupt ({reason}); download or copy this file again")
