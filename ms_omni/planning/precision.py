"""Bytes of a value in a plan, with and without 8-bit weights."""

from __future__ import annotations

from dataclasses import dataclass

from ms_omni.config import QUANTIZATIONS
from ms_omni.errors import OmniError
from ms_omni.planning.hardware import ASCEND, DTYPE_BYTES

NONE, INT8, DYNAMIC = QUANTIZATIONS[1:]


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
        """Whether the decoder layers' matrices are 8 bits wide."""
        return self.quantize != NONE

    @property
    def can_be_int8(self) -> bool:
        """Whether there are products with 8-bit weights for `dtype`: a card has none of float32."""
        return self.device != ASCEND or self.dtype != "float32"

    @property
    def weight(self) -> int:
        """Bytes of a value of a decoder layer's matrix."""
        return 1 if self.is_int8 else self.itemsize

    @property
    def scale(self) -> int:
        """Bytes of the scale of each row (output channel) of a decoder layer's matrix, of the kernels' `scale_dtype`; 0
        without 8-bit weights."""
        if not self.is_int8:
            return 0
        return DTYPE_BYTES["float32"] if self.quantize == DYNAMIC and self.dtype == "float16" else self.itemsize

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


def check_precision(precision: Precision) -> None:
    """Raises OmniError for 8-bit weights that the device cannot multiply hidden states of this type by."""
    if precision.is_int8 and not precision.can_be_int8:
        raise OmniError(
            f"--quantize {precision.quantize} with --dtype {precision.dtype}: a card's 8-bit products take bfloat16 or "
            "float16"
        )
