"""Bytes of a value in a plan, with and without 8-bit weights."""

from __future__ import annotations

from dataclasses import dataclass

from ms_omni.config import QUANTIZATIONS
from ms_omni.planning.hardware import ASCEND

AUTO, NONE, INT8, DYNAMIC = QUANTIZATIONS
# Scales of int8-dynamic, whatever the hidden states' type is: float32.
DYNAMIC_SCALE_BYTES = 4
# Offsets, zeros, that a card keeps under int8 beside each scale of an expert, in the scale's type: GroupedMatmul takes
# them with weights of 8 bits.
EXPERT_OFFSETS = 1


@dataclass(frozen=True)
class Precision:
    """itemsize: bytes of a value of hidden states, caches and weights that are not quantized. quantize: NONE,
    INT8 or DYNAMIC, of the decoder layers' matrices. device: of Hardware."""

    itemsize: int
    quantize: str = NONE
    device: str = ASCEND

    @property
    def is_int8(self) -> bool:
        return self.quantize != NONE

    @property
    def weight(self) -> int:
        """Bytes of a value of a decoder layer's matrix."""
        return 1 if self.is_int8 else self.itemsize

    @property
    def keeps_offsets(self) -> bool:
        """Whether experts have them beside their scales."""
        return EXPERT_OFFSETS > 0 and self.quantize == INT8 and self.device == ASCEND

    def row(self, of_experts: bool) -> int:
        """Bytes that are kept beside each row (output channel) of a decoder layer's matrix."""
        if not self.is_int8:
            return 0
        scale = self.itemsize if self.quantize == INT8 else DYNAMIC_SCALE_BYTES
        return scale * (1 + EXPERT_OFFSETS) if of_experts and self.keeps_offsets else scale

    def matrix(self, rows: int, columns: int, of_experts: bool = False) -> int:
        """Bytes of a decoder layer's matrix (rows, columns), with what is kept beside it."""
        return rows * (columns * self.weight + self.row(of_experts))

    def words(self, dtype: str) -> str:
        """What a title says. dtype: of hidden states."""
        if self.quantize == INT8:
            return f"{dtype} with decoder layers' weights in 8 bits (int8)"
        if self.quantize == DYNAMIC:
            return f"{dtype} with decoder layers' weights and hidden states in 8 bits (int8-dynamic)"
        return dtype
