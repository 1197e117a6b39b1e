"""Bicubic resizing with antialiasing, equal to torch's `interpolate(mode="bicubic", antialias=True)` in float32.

Measured against torch 2.13 on x86-64: equal bit for bit, which depends on the order of roundings. (Pillow's mode "F"
is off by up to 0.002 of 255, which moves some pixels to the next whole value: the recorded tensors would not match.)"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# Keys' cubic convolution with a = -0.5: torch uses it (as Pillow does) when antialias is set, and -0.75 otherwise.
_A = -0.5
_SUPPORT = 2.0
# torch's compiled loop takes taps in fours, multiplying before adding, and fuses the rest.
_UNROLLED = 4


def resize_bicubic(video: np.ndarray, height: int, width: int) -> np.ndarray:
    """(..., H, W) -> float32 (..., height, width): columns first, then rows, nothing rounded or clipped."""
    if video.shape[-2:] == (height, width):
        return video.astype(np.float32, copy=False)
    planes = video.reshape(-1, *video.shape[-2:])
    out = np.empty((planes.shape[0], height, width), dtype=np.float32)
    for index, plane in enumerate(planes):  # one plane at a time: it stays in the cache
        out[index] = _resize_plane(plane.astype(np.float32), height, width)
    return out.reshape(*video.shape[:-2], height, width)


def resize_bicubic_uint8(video: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (..., H, W) -> uint8 (..., height, width): computed in float32, clipped, rounded half to even, as
    torchvision's `resize` does for byte tensors."""
    if video.shape[-2:] == (height, width):
        return video
    return np.rint(np.clip(resize_bicubic(video, height, width), 0, 255)).astype(np.uint8)


def _resize_plane(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    if plane.shape[1] != width:
        plane = _resize_rows(np.ascontiguousarray(plane.T), width).T
    return _resize_rows(np.ascontiguousarray(plane), height) if plane.shape[0] != height else plane


def _resize_rows(plane: np.ndarray, size: int) -> np.ndarray:
    """(H, W) -> (size, W): each output row is the weighted sum of the rows under its filter."""
    first, taps, weights = _filter(plane.shape[0], size)
    out = np.empty((size, plane.shape[1]), dtype=np.float32)
    for count in np.unique(taps):
        rows = np.flatnonzero(taps == count)
        start, weight = first[rows], weights[rows, :, None]
        total = plane[start] * weight[:, 0]
        unfused = (count - 1) // _UNROLLED * _UNROLLED
        for tap in range(1, count):
            row = plane[start + tap]
            total = total + row * weight[:, tap] if tap <= unfused else _fma(row, weight[:, tap], total)
        out[rows] = total
    return out


@lru_cache(maxsize=16)
def _filter(in_size: int, out_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first input row of each output row (out_size,), how many follow (out_size,), and their weights, float32
    (out_size, most taps), which sum to 1."""
    f32 = np.float32
    scale = f32(in_size) / f32(out_size)
    widening = max(scale, f32(1))
    support = f32(_SUPPORT) * widening
    center = scale * (np.arange(out_size, dtype=f32) + f32(0.5))
    first = np.maximum((center - support + f32(0.5)).astype(np.int64), 0)
    last = np.minimum((center + support + f32(0.5)).astype(np.int64), in_size)
    rows = first[:, None] + np.arange(int((last - first).max()))
    distance = rows.astype(f32) - center[:, None]
    distance = ((distance.astype(np.float64) + 0.5) * (f32(1) / widening)).astype(f32)  # torch's 0.5 is a double
    weights = np.where(rows < last[:, None], _cubic(np.abs(distance)), f32(0))
    total = np.zeros(out_size, dtype=f32)
    for tap in range(weights.shape[1]):
        total += weights[:, tap]
    return first, last - first, weights / total[:, None]


def _cubic(x: np.ndarray) -> np.ndarray:
    near = _fma(_fma(_A + 2, x, -(_A + 3)) * x, x, 1)
    far = _fma(_fma(_fma(_A, x, -5 * _A), x, 8 * _A), x, -4 * _A)
    return np.where(x < 1, near, np.where(x < 2, far, np.float32(0)))


def _fma(a: np.ndarray | float, b: np.ndarray, c: np.ndarray | float) -> np.ndarray:
    """a * b + c of float32 values, rounded once: the product of two float32 is exact in float64."""
    return (np.multiply(a, b, dtype=np.float64) + c).astype(np.float32)
