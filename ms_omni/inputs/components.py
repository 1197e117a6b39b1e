"""The parts of mindone's processor, built from a checkpoint's files; its video processor is corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.checkpoint.config import read_json
from ms_omni.errors import OmniError
from ms_omni.inputs.antialias import resize_bicubic

# Frames of 10 ms. The 240,000 of 40 minutes would need 800 MB of complex and float64 intermediates at once.
FRAMES_AT_ONCE = 8192
IMAGE_FILE = "preprocessor_config.json"
VIDEO_FILE = "video_preprocessor_config.json"
_CLASS_NAMES = ("image_processor_type", "feature_extractor_type", "video_processor_type", "processor_class")
_SHARED = ("patch_size", "temporal_patch_size", "merge_size", "image_mean", "image_std", "rescale_factor", "resample")


def image_processor(directory: Path, min_pixels: int | None, max_pixels: int | None) -> Any:
    """mindone's PIL `Qwen2VLImageProcessor`, the same arithmetic as transformers' with use_fast=False.

    min_pixels and max_pixels replace the checkpoint's, as keywords of transformers' from_pretrained do. It ignores
    `size`, so a file that limits the area by `size` alone is translated (transformers' fast processor reads it)."""
    from mindone.transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    settings = _image_settings(directory)
    size = settings.pop("size", None) or {}
    for key, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        if settings.get(key) is None and edge in size:
            settings[key] = size[edge]
    asked = {"min_pixels": min_pixels, "max_pixels": max_pixels}
    settings.update({key: value for key, value in asked.items() if value is not None})
    return Qwen2VLImageProcessor(**settings)


def _image_settings(directory: Path) -> dict[str, Any]:
    """The image settings of preprocessor_config.json. `save_pretrained` of transformers 4.57.1 overwrites them with the
    audio settings (and cannot read the result); the video settings, which it keeps, are used then."""
    settings = read_json(directory / IMAGE_FILE)
    if "image_processor_type" not in settings and "patch_size" not in settings:
        if not (directory / VIDEO_FILE).exists():
            raise OmniError(f"--model {directory}: {IMAGE_FILE} has no image settings (patch_size, image_mean, ...)")
        video = read_json(directory / VIDEO_FILE)
        settings.update({key: video[key] for key in _SHARED if key in video})
    return _own(settings)


def feature_extractor(directory: Path) -> Any:
    """mindone's `WhisperFeatureExtractor`, whose log-mel spectrograms need little memory for long sounds."""
    from mindone.transformers.models.whisper.feature_extraction_whisper import WhisperFeatureExtractor

    class FeatureExtractor(WhisperFeatureExtractor):
        def _np_extract_fbank_features(self, waveform_batch: np.ndarray) -> np.ndarray:
            return np.stack([log_mel(waveform, self) for waveform in waveform_batch])

    return FeatureExtractor(**_own(read_json(directory / IMAGE_FILE)))


def log_mel(waveform: np.ndarray, settings: Any) -> np.ndarray:
    """float32 (samples,) -> float32 (mel bins, samples // hop_length), computed FRAMES_AT_ONCE frames at a time.

    settings: an object with the fields of WhisperFeatureExtractor (n_fft, hop_length, mel_filters, dither). Source:
    transformers 4.57.1 `WhisperFeatureExtractor._np_extract_fbank_features`."""
    from mindone.transformers.audio_utils import spectrogram, window_function

    half, hop = settings.n_fft // 2, settings.hop_length
    padded = np.pad(waveform, half, mode="reflect")
    count = len(waveform) // hop  # the last frame is dropped
    out = np.empty((len(settings.mel_filters[0]), count), np.float32)
    for start in range(0, count, FRAMES_AT_ONCE):
        end = min(start + FRAMES_AT_ONCE, count)
        out[:, start:end] = spectrogram(
            padded[start * hop : (end - 1) * hop + settings.n_fft],
            window_function(settings.n_fft, "hann"),
            frame_length=settings.n_fft,
            hop_length=hop,
            power=2.0,
            center=False,
            dither=settings.dither,
            mel_filters=settings.mel_filters,
            log_mel="log10",
        )
    np.maximum(out, out.max() - np.float32(8.0), out=out)
    out += np.float32(4.0)
    out /= np.float32(4.0)
    return out


def video_processor(directory: Path) -> Any:
    """mindone 0.5.0's `Qwen2VLVideoProcessor` with its call replaced.

    Its own call needs operators that MindSpore's CPU lacks, rounds resized frames to bytes (through Pillow) where
    transformers keeps floats, and reshapes videos of different lengths by the last one's. Like transformers, a
    checkpoint without video_preprocessor_config.json uses preprocessor_config.json."""
    from mindone.transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    class VideoProcessor(Qwen2VLVideoProcessor):
        def __call__(self, videos: Any, images: Any = None, **kwargs: Any) -> dict[str, np.ndarray]:
            return process_videos(videos, self, {**self.size, **(kwargs.get("size") or {})})

    path = directory / VIDEO_FILE
    settings = _own(read_json(path if path.exists() else directory / IMAGE_FILE))
    known = {key: value for key, value in settings.items() if value is not None and hasattr(VideoProcessor, key)}
    # without one, the class would write min_pixels and max_pixels into the size that all its instances share
    known["size"] = {**VideoProcessor.size, **known.get("size", {})}
    return VideoProcessor(**known)


def process_videos(videos: list[np.ndarray], settings: Any, size: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Videos (T, 3, H, W) of any lengths and sizes -> pixel_values_videos float32 (patches, 3 * 2 * patch * patch)
    and video_grid_thw int64 (videos, 3), as transformers 4.57.1 within 1e-6.

    settings: an object with the fields of Qwen2VLVideoProcessor. size: shortest_edge and longest_edge, the least and
    the largest area of a frame in pixels."""
    from mindone.transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    patch, temporal, merge = settings.patch_size, settings.temporal_patch_size, settings.merge_size
    area = {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    sizes = [(video.shape[-2], video.shape[-1]) for video in videos]
    targets = [smart_resize(*hw, factor=patch * merge, **area) if settings.do_resize else hw for hw in sizes]
    grids = [
        (-(-len(video) // temporal), height // patch, width // patch)
        for video, (height, width) in zip(videos, targets, strict=True)
    ]
    # A few frames at a time, so that the whole video exists as floats only once, as patches.
    patches = np.empty((sum(t * h * w for t, h, w in grids), 3 * temporal * patch * patch), np.float32)
    done = 0
    for video, target in zip(videos, targets, strict=True):
        for start in range(0, len(video), temporal):
            frames = _pixels(np.asarray(video[start : start + temporal]), target, settings)
            rows, _ = patchify(frames, patch, temporal, merge)
            patches[done : done + len(rows)] = rows
            done += len(rows)
    return {"pixel_values_videos": patches, "video_grid_thw": np.asarray(grids, dtype=np.int64)}


def _pixels(frames: np.ndarray, target: tuple[int, int], settings: Any) -> np.ndarray:
    """(T, 3, H, W) resized, rescaled and normalised as `settings` say, (T, 3, *target)."""
    if settings.do_resize:
        frames = resize_bicubic(frames, *target)
    factor = settings.rescale_factor if settings.do_rescale else None
    if settings.do_normalize:
        return normalize(frames, factor, settings.image_mean, settings.image_std)
    return frames * np.float32(factor) if factor else frames


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


def _own(settings: dict[str, Any]) -> dict[str, Any]:
    """Without class names, which are not settings."""
    return {key: value for key, value in settings.items() if key not in _CLASS_NAMES}
