"""A checkpoint as if the weights of its decoders were all stored in 8 bits: float ones are rounded while they are
read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ms_omni.checkpoint.int8 import SCALE, is_quantized, rounded, row_scales, weight_of
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.checkpoint.stored_reader import StoredReader
from ms_omni.errors import OmniError


class Int8Reader:
    """As a CheckpointReader, with int8 for the weights that `is_quantized` names, and a name more for each of them, its
    scales."""

    def __init__(self, reader: CheckpointReader | StoredReader):
        """reader: of `open_checkpoint`."""
        self.reader = reader
        self._scales: dict[str, np.ndarray] = {}  # of weights that were read, until these are asked for

    @property
    def directory(self) -> Path:
        return self.reader.directory

    def names(self) -> list[str]:
        """As `CheckpointReader.names`; scales come behind their weights."""
        return [
            each for name in self.reader.names() for each in ((name, name + SCALE) if self._rounds(name) else (name,))
        ]

    def __contains__(self, name: str) -> bool:
        return (weight_of(name) or name) in self.reader

    def read(self, name: str, index: tuple[slice, ...] | None = None) -> np.ndarray:
        """As `CheckpointReader.read`: int8 values, or float32 scales (out, 1), of a quantized weight. Those of a slice
        are the whole weight's."""
        weight = weight_of(name) or name
        if not self._rounds(weight):
            return self.reader.read(name, index)
        if weight != name:
            scales = self._scales.get(weight)
            scales = self._row_scales(weight, self.reader.read(weight)) if scales is None else scales
            return scales if index is None else scales[index]
        values = self.reader.read(name)
        if name not in self._scales:
            self._scales[name] = self._row_scales(name, values)
        scales = self._scales[name]
        return rounded(values, scales) if index is None else rounded(values[index], scales[index[0]])

    def release(self, name: str) -> None:
        """As `CheckpointReader.release`."""
        weight = weight_of(name) or name
        if weight != name:
            self._scales.pop(weight, None)
        self.reader.release(weight if self._rounds(weight) else name)

    def shape(self, name: str) -> tuple[int, ...]:
        weight = weight_of(name)
        return (self.reader.shape(weight)[0], 1) if weight else self.reader.shape(name)

    def dtype(self, name: str) -> np.dtype:
        if is_quantized(name):
            return np.dtype(np.int8)
        return np.dtype(np.float32) if weight_of(name) else self.reader.dtype(name)

    @property
    def nbytes(self) -> int:
        """Bytes of all weights, as they are read."""
        return sum(math.prod(self.shape(name)) * self.dtype(name).itemsize for name in self.names())

    def _row_scales(self, name: str, values: np.ndarray) -> np.ndarray:
        try:
            return row_scales(values, name)
        except OmniError as error:
            raise OmniError(f"--model {self.directory}: {error}") from error

    def _rounds(self, name: str) -> bool:
        """Whether this weight is stored as float values, and asked for as int8."""
        return is_quantized(name) and self.reader.dtype(name) != np.int8
