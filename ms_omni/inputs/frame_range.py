"""Which frames of a video are sampled: the arithmetic of qwen-omni-utils 0.0.9."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ms_omni.errors import OmniError

FPS = 2.0
FRAME_FACTOR = 2
MIN_FRAMES = 4
MAX_FRAMES = 768


def pick_range(part: Mapping[str, Any], total_frames: int, fps: float) -> tuple[int, int]:
    """(first, last) frame between video_start and video_end, both inclusive (`calculate_video_frame_range`).

    Raises OmniError when fewer than two frames are left."""
    if "video_start" not in part and "video_end" not in part:
        return 0, total_frames - 1
    duration = total_frames / fps
    start, end = part.get("video_start"), part.get("video_end")
    first = 0 if start is None else math.ceil(max(0.0, min(start, duration)) * fps)
    last = total_frames - 1
    if end is not None:
        last = min(math.floor(max(0.0, min(end, duration)) * fps), last)
    if first >= last:
        asked = f"video_start {0 if start is None else start:g} to video_end {duration if end is None else end:g}"
        raise OmniError(f"{asked} holds fewer than 2 of its {total_frames} frames ({duration:.2f} s at {fps:g} fps)")
    return first, last


def smart_nframes(part: Mapping[str, Any], total_frames: int, fps: float) -> int:
    """How many of `total_frames` to use: `nframes`, or `fps` (default 2) times the duration within min_frames and
    max_frames; always even. Raises OmniError when that is below 2 or above `total_frames`."""
    if "nframes" in part:
        count = round(part["nframes"] / FRAME_FACTOR) * FRAME_FACTOR
    else:
        least = math.ceil(part.get("min_frames", MIN_FRAMES) / FRAME_FACTOR) * FRAME_FACTOR
        most = part.get("max_frames", min(MAX_FRAMES, total_frames))
        most = math.floor(most / FRAME_FACTOR) * FRAME_FACTOR
        wanted = total_frames / fps * part.get("fps", FPS)
        count = min(min(max(wanted, least), most), total_frames)
        count = math.floor(count / FRAME_FACTOR) * FRAME_FACTOR
    if not FRAME_FACTOR <= count <= total_frames:
        raise OmniError(f"{count} frames asked for, the video has {total_frames} (at least {FRAME_FACTOR} are needed)")
    return count


def linspace_indices(first: int, last: int, count: int) -> list[int]:
    """`torch.linspace(first, last, count).round()`: float32 steps counted from both ends, halves to even."""
    step = float((np.float32(last) - np.float32(first)) / np.float32(count - 1))
    steps = np.arange(count, dtype=np.float64)
    # Each product and sum is rounded once (a fused multiply-add), as in torch's x86-64 kernel.
    forward = (first + step * steps).astype(np.float32)
    backward = (last - step * steps[::-1]).astype(np.float32)
    values = np.where(steps < count // 2, forward, backward)
    return [int(value) for value in np.rint(values)]
