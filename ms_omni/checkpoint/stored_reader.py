"""Reads checkpoints whose weights are stored in 8 bits, in the formats of compressed-tensors.

Of a weight NAME.weight (out, in) such files hold NAME.weight, int8, or NAME.weight_packed, int32 (out, in / 4, rounded
up), with NAME.weight_shape; and NAME.weight_scale. In packed ones each byte, the lowest first, is a value + 128
(`pack_to_int32` of compressed-tensors)."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np

from ms_omni.checkpoint.compressed import checkpoint_quantization
from ms_omni.checkpoint.int8 import SCALE, dequantized, is_quantized, weight_of
from ms_omni.checkpoint.reader import CheckpointReader, WeightReader
from ms_omni.errors import OmniError

_PACKED, _SHAPE, _ZERO_POINT, _ORDER = "_packed", "_shape", "_zero_point", "_g_idx"  # behind the name of a weight
_WEIGHT = ".weight"
_BYTES = 4  # of an int32, values in each
_FLOATS = "fV"  # numpy's kinds of float types; ml_dtypes' bfloat16 is V


class StoredReader(WeightReader):
    """The weights of a quantized checkpoint: int8 values and float32 scales (out, 1) for the weights that
    `is_quantized` names; others that it stores in 8 bits are bfloat16, the products of value and scale."""

    def __init__(self, reader: CheckpointReader):
        """Checks the headers. Raises OmniError naming a weight whose scales are missing or not one for each row."""
        super().__init__(reader.directory)
        self.reader = reader
        # Under which name the files hold each weight
        self._stored = {
            raw.removesuffix(_PACKED): raw
            for raw in reader.names()
            if raw.endswith(_WEIGHT + _PACKED) or (raw.endswith(_WEIGHT) and reader.dtype(raw) == np.int8)
        }
        for name in self._stored:
            self._check_header(name)
        parts = (SCALE, _PACKED, _SHAPE, _ZERO_POINT)
        self._hidden = {name + part for name in self._stored for part in parts}

    def names(self) -> list[str]:
        """As `WeightReader.names`."""
        homes = {raw: name for name, raw in self._stored.items()}
        made = []
        for raw in self.reader.names():
            if raw in homes:
                name = homes[raw]
                made += [name, name + SCALE] if is_quantized(name) else [name]
            elif raw not in self._hidden:
                made.append(raw)
        return made

    def __contains__(self, name: str) -> bool:
        if weight := weight_of(name):
            return weight in self._stored
        return name in self._stored or (name in self.reader and name not in self._hidden)

    def read(self, name: str, index: tuple[slice, ...] | None = None) -> np.ndarray:
        """As `WeightReader.read`. Raises OmniError for scales that are negative, infinite or no numbers, and for
        zero points."""
        weight = weight_of(name)
        if weight in self._stored:
            scales = self._scales(str(weight))
            return scales if index is None else scales[index]
        if name not in self._stored:
            return self.reader.read(name, index)
        values = self._values(name, index)
        if is_quantized(name):
            return values
        scales = self._scales(name)
        return dequantized(values, scales if index is None else scales[index[0]])

    def release(self, name: str) -> None:
        """As `WeightReader.release`."""
        self.reader.release(self._stored.get(name, name))

    def shape(self, name: str) -> tuple[int, ...]:
        """As `WeightReader.shape`."""
        weight = weight_of(name)
        if weight in self._stored:
            return (self._rows(str(weight)), 1)
        return self._packed_shape(name) if self._is_packed(name) else self.reader.shape(name)

    def dtype(self, name: str) -> np.dtype:
        """As `WeightReader.dtype`."""
        if weight_of(name) in self._stored:
            return np.dtype(np.float32)
        if name not in self._stored:
            return self.reader.dtype(name)
        return np.dtype(np.int8 if is_quantized(name) else ml_dtypes.bfloat16)

    def _is_packed(self, name: str) -> bool:
        return self._stored.get(name, name) != name

    def _values(self, name: str, index: tuple[slice, ...] | None) -> np.ndarray:
        """int8 (out, in), or the slice of it: a view of the file, or one copy of packed values."""
        if not self._is_packed(name):
            return self.reader.read(name, index)
        columns = self._packed_shape(name)[1]
        values = self.reader.read(name + _PACKED).view(np.uint8)[:, :columns]
        return np.bitwise_xor(values if index is None else values[index], np.uint8(128)).view(np.int8)

    def _scales(self, name: str) -> np.ndarray:
        """float32 (out, 1)."""
        self._check_zero_points(name)
        scales = self.reader.read(name + SCALE).astype(np.float32).reshape(-1, 1)
        if not (np.isfinite(scales) & (scales >= 0)).all():
            raise self._error(name, "has a scale that is negative, infinite or no number; download it again")
        return np.ascontiguousarray(np.broadcast_to(scales, (self._rows(name), 1)))

    def _rows(self, name: str) -> int:
        return self.reader.shape(self._stored[name])[0]

    def _packed_shape(self, name: str) -> tuple[int, int]:
        rows, columns = (int(size) for size in self.reader.read(name + _SHAPE))
        found = self.reader.shape(name + _PACKED)
        if found != (rows, -(-columns // _BYTES)):
            raise self._error(name, f"of shape {(rows, columns)} is packed into int32 {found}; expected 8 bits each")
        return rows, columns

    def _check_header(self, name: str) -> None:
        reader, stored = self.reader, self._stored[name]
        if name + SCALE not in reader:
            raise self._error(name, f"is stored in 8 bits, but has no scales ({name}{SCALE}); download it again")
        if name + _ORDER in reader:
            raise self._error(name, f"has its columns in another order (actorder, {name}{_ORDER})")
        shape, scales = reader.shape(stored), reader.shape(name + SCALE)
        if len(shape) != 2:
            raise self._error(name, f"is stored in 8 bits with shape {shape}; expected a matrix")
        has_shape = name + _SHAPE in reader and reader.shape(name + _SHAPE) == (2,)
        if self._is_packed(name) and (reader.dtype(stored) != np.int32 or not has_shape):
            raise self._error(name, f"is packed, but not as int32 with {name}{_SHAPE} beside it")
        kind, rows = reader.dtype(name + SCALE), shape[0]
        if kind.kind not in _FLOATS or scales not in ((rows, 1), (rows,), (1, 1), (1,), ()):
            raise self._error(name, f"has scales {kind} {scales}; expected float values, one for each of {rows} rows")

    def _check_zero_points(self, name: str) -> None:
        if name + _ZERO_POINT in self.reader and self.reader.read(name + _ZERO_POINT).any():
            raise self._error(name, f"has zero points ({name}{_ZERO_POINT}); expected symmetric values")

    def _error(self, name: str, fault: str) -> OmniError:
        return OmniError(f"--model {self.directory}: {name} {fault}")


def open_checkpoint(directory: str | Path) -> WeightReader:
    """The reader of a checkpoint directory, float or quantized. Raises OmniError for files that are missing, truncated
    or corrupt, and for quantized checkpoints that do not load."""
    stored = checkpoint_quantization(directory)
    reader = CheckpointReader(directory)
    if stored == "int8":
        return StoredReader(reader)
    for name in reader.names():
        if reader.dtype(name) == np.int8 or name.endswith(_WEIGHT + _PACKED):
            raise OmniError(
                f"--model {directory}: {name} is quantized, but config.json has no quantization_config that says how; "
                "download config.json again"
            )
    return reader
