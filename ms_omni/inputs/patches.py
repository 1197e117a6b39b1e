"""Video frames to patches, as transformers 4.57.1 `Qwen2VLVideoProcessor`, in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def normalize(video: np.ndarray, factor: float | None, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(T, C, H, W) -> float32 (video * factor - mean) / std, the factor (None: 1) folded into mean and std as
    transformers' fast processors do."""
    scale = np.float32(1.0 / factor) if factor else np.float32(1)
    shape = (1, -1, 1, 1)
    scaled_mean = (np.asarray(mean, dtype=np.float32) * scale).reshape(shape)
    scaled_std = (np.asarray(std, dtype=np.float32) * scale).reshape(shape)
    return (video.astype(np.float32, copy=False) - scaled_mean) / scaled_std


def patchify(video: np.ndarray, patch: int, temporal: int, merge: int) -> tuple[np.ndarray, tuple[int, int, int]]:
    """(T, C, H, W) -> (patches (t*h*w, C * temporal * patch * patch), grid (t, h, w)).

    H and W are multiples of patch * merge; the last frame is repeated until T is a multiple of `temporal`. Patches of
    one merged token follow each other."""
    missing = -len(video) % temporal
    if missing:
        video = np.concatenate([video, np.repeat(video[-1:], missing, axis=0)])
    frames, channels, height, width = video.shape
    grid = (frames // temporal, height // patch, width // patch)
    split = video.reshape(
        grid[0], temporal, channels, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch
    )  # t, temporal, channel, h, merge, patch, w, merge, patch
    ordered = split.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return ordered.reshape(grid[0] * grid[1] * grid[2], channels * temporal * patch * patch), grid
