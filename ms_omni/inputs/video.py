"""Reads videos as qwen-omni-utils 0.0.9 `fetch_video` does with decord: frames picked by time, resized to patches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ms_omni.errors import OmniError
from ms_omni.inputs.access import UNRESTRICTED, MediaAccess
from ms_omni.inputs.antialias import resize_bicubic_uint8
from ms_omni.inputs.frame_range import linspace_indices, pick_range, smart_nframes
from ms_omni.inputs.image import SPATIAL_MERGE_SIZE, fetch_image, smart_resize
from ms_omni.inputs.source import Source, open_source
from ms_omni.inputs.video_frames import decode_frames, probe

# qwen-omni-utils 0.0.9: tokens a frame may take, frames a temporal patch holds.
MIN_TOKENS = 128
MAX_TOKENS = 768
FRAME_FACTOR = 2
DEFAULT_SAMPLE_FPS = 2.0


def fetch_video(
    part: Mapping[str, Any],
    image_patch_size: int = 14,
    dtype: Any = np.float32,
    access: MediaAccess = UNRESTRICTED,
) -> tuple[np.ndarray, dict[str, Any], float]:
    """(frames (T, 3, H, W) of `dtype` with whole values 0..255, metadata, frames a second) of a video part.

    The medium may be a path, file://, http(s)://, data: URI, a list of images, or an array uint8 (T, 3, H, W).
    Raises OmniError naming it: unreadable, truncated, no video track, fewer than two frames, an empty time range."""
    value = part["video"] if "video" in part else part["video_url"]
    factor = image_patch_size * SPATIAL_MERGE_SIZE
    if isinstance(value, (str, Source)):
        frames, metadata, sample_fps = _from_file(open_source(value, "video", access), part, factor)
    else:
        source = Source("video frames", access=access)
        given = value if isinstance(value, np.ndarray) else _from_images(value, part, factor, source)
        frames, metadata, sample_fps = _sampled(_checked_array(given), part)
        frames = _fit(frames, len(frames), part, factor, source)
    return frames.astype(dtype, copy=False), metadata, sample_fps


def _from_file(source: Source, part: Mapping[str, Any], factor: int) -> tuple[np.ndarray, dict[str, Any], float]:
    total, fps = probe(source)
    try:
        start, end = pick_range(part, total, fps)
        count = smart_nframes(part, end - start + 1, fps)
    except OmniError as error:
        raise source.fail(str(error)) from error
    source.check("max_frames", count, "frames")
    indices = linspace_indices(start, end, count)
    # Each frame is resized when it is decoded: hundreds of full-size frames would not fit into memory.
    frames = decode_frames(source, indices, total, lambda frame: _fit(frame, count, part, factor, source))
    span = end - start + 1
    metadata = {"fps": fps, "frames_indices": indices, "total_num_frames": span, "video_backend": "pyav"}
    return frames, metadata, count / span * fps


def _from_images(frames: Any, part: Mapping[str, Any], factor: int, source: Source) -> np.ndarray:
    """uint8 (T, 3, H, W) of a list of images: each goes through `fetch_image` with the *merged* patch as its patch
    size, so to multiples of 56 (and the limits that follow from that) before the video's own size: qwen-omni-utils
    0.0.9 does so."""
    options = {key: value for key, value in part.items() if key not in ("type", "video", "video_url")}
    images: list[np.ndarray] = []
    for frame in frames:
        image = fetch_image({"image": frame, **options}, factor, source.access)
        images.append(np.asarray(image).transpose(2, 0, 1))
        source.check("max_decoded_bytes", sum(image.size for image in images), "bytes of frames")
    if any(image.shape != images[0].shape for image in images):
        sizes = sorted({f"{image.shape[2]}x{image.shape[1]}" for image in images})
        raise OmniError(f"video frames: all must have one size, got {', '.join(sizes)}")
    return np.stack(images)


def _checked_array(frames: np.ndarray) -> np.ndarray:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape:
        raise OmniError(f"video array: expected uint8 of shape (T, 3, H, W), got {frames.dtype} {frames.shape}")
    return frames


def _sampled(frames: np.ndarray, part: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any], float]:
    """Frames that were sampled before: of an odd number the last frame is repeated."""
    missing = -len(frames) % FRAME_FACTOR
    frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    sample_fps = part.get("sample_fps", DEFAULT_SAMPLE_FPS)
    raw_fps = part.get("raw_fps", sample_fps)
    total = len(frames) / sample_fps * raw_fps
    return frames, {"fps": raw_fps, "frames_indices": list(range(len(frames))), "total_num_frames": total}, sample_fps


def _fit(frames: np.ndarray, count: int, part: Mapping[str, Any], factor: int, source: Source) -> np.ndarray:
    """uint8 (..., 3, H, W) resized for a video of `count` frames."""
    try:
        height, width = target_size(part, count, frames.shape[-2], frames.shape[-1], factor)
    except OmniError as error:
        raise source.fail(str(error)) from error
    source.check("max_frame_pixels", height * width, "pixels a frame are asked for")
    source.check("max_decoded_bytes", count * height * width * 3, "bytes of frames")
    return resize_bicubic_uint8(frames, height, width)


def target_size(part: Mapping[str, Any], count: int, height: int, width: int, factor: int) -> tuple[int, int]:
    """(height, width) of each of `count` frames; the more frames, the smaller, so that the video fits the model's
    context. part: its size settings, {} for the defaults. Raises OmniError for a shape that is refused."""
    if "resized_height" in part and "resized_width" in part:
        return smart_resize(part["resized_height"], part["resized_width"], factor)
    area = factor * factor
    min_pixels = part.get("min_pixels", MIN_TOKENS * area)
    context_tokens = int(float(os.environ.get("MODEL_SEQ_LEN", 128000)))
    total_pixels = part.get("total_pixels", context_tokens * area * 0.9)
    limit = max(min(MAX_TOKENS * area, total_pixels / count * FRAME_FACTOR), int(min_pixels * 1.05))
    max_pixels = min(part.get("max_pixels", limit), limit)
    return smart_resize(height, width, factor, min_pixels, max_pixels)
