"""Bytes of a value in a plan, with and without 8-bit weights."""

from __future__ import annotations

from dataclasses import dataclass

from ms_omni.config import QUANTIZATIONS
from ms_omni.planning.hardware import ASCEND, DTYPE_BYTES

AUTO, NONE, INT8, DYNAMIC = QUANTIZATIONS


@dataclass(frozen=True)
class Precision:
    """dtype: of hidden states, caches and weights that are not quantized. quantize: NONE, INT8 or DYNAMIC, of the
    decoder layers' matrices. device: of Hardware."""

    dtype: str
    quantize: str = NONE
    device: str = ASCEND

    @property
    def itemsize(self) -> int:
        """Bytes of a value of `dtype`."""
        return DTYPE_BYTES[self.dtype]

    @property
    def is_int8(self) -> bool:
        return self.quantize != NONE

    @property
    def weight(self) -> int:
        """Bytes of a value of a decoder layer's matrix."""
        return 1 if self.is_int8 else self.itemsize

    @property
    def scale(self) -> int:
        """Bytes of the scale of a row (output channel) of a decoder layer's matrix: 0 where there is none. Source: the
        `scale_dtype` of each device's decoder_ops."""
        if not self.is_int8:
            return 0
        return self.itemsize if self.quantize == INT8 or self.dtype == "bfloat16" else DTYPE_BYTES["float32"]

    def matrix(self, rows: int, columns: int) -> int:
        """Bytes of a decoder layer's matrix (rows, columns), with its scales."""
        return rows * (columns * self.weight + self.scale)

    def words(self) -> str:
        """What a title says."""
        if self.quantize == INT8:
            return f"{self.dtype} with decoder layers' weights in 8 bits (int8)"
        if self.quantize == DYNAMIC:
            return f"{self.dtype} with decoder layers' weights and hidden states in 8 bits (int8-dynamic)"
        return self.dtype
