"""What recorder and tests share: how arrays are thinned out, and the sizes of the torch samples."""

from __future__ import annotations

import numpy as np

MOST_VALUES = 400
# (height, width, new height, new width)
RESIZES = [(64, 320, 48, 308), (90, 70, 252, 168), (33, 640, 33, 224), (120, 160, 36, 224), (360, 64, 196, 64)]
LINSPACES = [(0, 299, 20), (7, 6003, 384), (0, 74, 6), (11, 54, 4), (0, 15999, 768), (3, 4, 2), (0, 9, 4)]
LINSPACES.append((24, 173471, 754))  # where float32 steps from one end only would go wrong


def thinned(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(shape, at most 400 values spread evenly over the array)."""
    flat = array.reshape(-1)
    chosen = np.linspace(0, flat.size - 1, min(flat.size, MOST_VALUES)).astype(np.int64)
    return np.asarray(array.shape), flat[chosen]


def resize_sample(sizes: tuple[int, int, int, int]) -> np.ndarray:
    """uint8 (1, 3, height, width)"""
    return np.random.default_rng(sizes).integers(0, 256, (1, 3, *sizes[:2]), dtype=np.uint8)
