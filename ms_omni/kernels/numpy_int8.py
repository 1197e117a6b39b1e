"""Products with 8-bit weights in numpy. A tile of a matrix at a time becomes float32, never a whole matrix."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from ms_omni.checkpoint.int8 import LARGEST

# float32 values of a tile, 2 MB. Measured with OpenBLAS 0.3.23 (AVX2, Zen 3), weights out of memory, in microseconds:
# 2048 x 1536, 1 row 426 (float32 weights 437), 4 rows 873 (2163), 16 rows 2302 (2698); with tiles of 1 MB 588, 1055 and
# 4190, of 256 KB 770, 1496 and 6707. 512 x 512, 1 row 48 (44), 4 rows 88 (91).
TILE = 1 << 19

_scratch = threading.local()

Multiply = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Int8Matrix:
    """A weight (in, out) for `numpy_math.product`. The values are kept (out, in), as in a checkpoint, so that a tile is
    contiguous."""

    def __init__(self, values: np.ndarray, scales: np.ndarray, rounds_rows: bool):
        """values: int8 (out, in). scales: float32 (out,). rounds_rows: the multiplied rows are rounded to 8 bits too,
        each with its own scale."""
        self.values, self.scales, self.rounds_rows = values, scales, rounds_rows

    @property
    def shape(self) -> tuple[int, int]:
        """(in, out), as of a float weight."""
        return self.values.shape[1], self.values.shape[0]

    def product(self, x: np.ndarray, multiply: Multiply, out: np.ndarray | None = None) -> np.ndarray:
        """x: float32 (rows, in). multiply: writes the product of rows and a float32 matrix into an array. float32
        (rows, out)."""
        if out is None:
            out = np.empty((len(x), len(self.values)), np.float32)
        row_scales = None
        if self.rounds_rows:
            x, row_scales = rounded_rows(x)
        step = max(1, TILE // self.values.shape[1])
        for start in range(0, len(self.values), step):
            part = self.values[start : start + step]
            tile = _tile(part.shape)
            np.copyto(tile, part)
            multiply(x, tile.T, out[:, start : start + step])
        out *= self.scales
        if row_scales is not None:
            out *= row_scales
        return out


def rounded_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x: float32 (rows, in). Each row as whole numbers from -127 to 127, float32, and the scales to multiply them by,
    (rows, 1). Sums of products of whole numbers are exact up to 2^24, and rounded to float32 beyond that."""
    scales = np.abs(x).max(axis=1, keepdims=True)
    scales /= np.float32(LARGEST)
    scales[scales == 0] = 1
    made = x / scales
    return np.rint(made, made), scales


def _tile(shape: tuple[int, ...]) -> np.ndarray:
    """This thread's float32 memory for a tile."""
    count = shape[0] * shape[1]
    kept = getattr(_scratch, "values", None)
    if kept is None or kept.size < count:
        kept = _scratch.values = np.empty(max(TILE, count), np.float32)
    return kept[:count].reshape(shape)
