"""A checkpoint as if the weights of its decoders were all stored in 8 bits: float ones are rounded while they are
read."""

from __future__ import annotations

import numpy as np

from ms_omni.checkpoint.int8 import SCALE, is_quantized, rounded, row_scales, weight_of
from ms_omni.checkpoint.reader import WeightReader
from ms_omni.errors import OmniError


class Int8Reader(WeightReader):
    """Another reader, with int8 values for the weights that `is_quantized` names, each followed by its scales."""

    def __init__(self, reader: WeightReader):
        """reader: of `open_checkpoint`."""
        super().__init__(reader.directory)
        self.reader = reader
        self._scales: dict[str, np.ndarray] = {}  # of weights that were read, until these are asked for

    def names(self) -> list[str]:
        """As `WeightReader.names`."""
        return [
            each for name in self.reader.names() for each in ((name, name + SCALE) if self._rounds(name) else (name,))
        ]

    def __contains__(self, name: str) -> bool:
        return (weight_of(name) or name) in self.reader

    def read(self, name: str, index: tuple[slice, ...] | None = None) -> np.ndarray:
        """As `WeightReader.read`: int8 values, or float32 scales (out, 1), of a quantized weight. A slice is rounded
        with the scales of the whole weight."""
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
        """As `WeightReader.release`."""
        weight = weight_of(name) or name
        if weight != name:
            self._scales.pop(weight, None)
        self.reader.release(weight if self._rounds(weight) else name)

    def shape(self, name: str) -> tuple[int, ...]:
        """As `WeightReader.shape`."""
        weight = weight_of(name)
        return (self.reader.shape(weight)[0], 1) if weight else self.reader.shape(name)

    def dtype(self, name: str) -> np.dtype:
        """As `WeightReader.dtype`."""
        if is_quantized(name):
            return np.dtype(np.int8)
        return np.dtype(np.float32) if weight_of(name) else self.reader.dtype(name)

    def _row_scales(self, name: str, values: np.ndarray) -> np.ndarray:
        try:
            return row_scales(values, name)
        except OmniError as error:
            raise OmniError(f"--model {self.directory}: {error}") from error

    def _rounds(self, name: str) -> bool:
        """Whether this weight is stored as float values, and asked for as int8."""
        return is_quantized(name) and self.reader.dtype(name) != np.int8
