"""The workload of a plan, a prompt of text and media with an answer, and the tokens that its media make."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ms_omni.errors import OmniError

# A start and an end token stand around every picture, sound and video.
TOKENS_AROUND = 2
MEL_FRAMES_PER_SECOND = 100
# qwen-omni-utils' patch size by default, whatever the model's own: the area of pictures and frames is bounded in it.
READER_PATCH = 14
# Areas that the released preprocessor_config.json allows pictures, and Qwen3OmniMoeProcessor (4.57.1) frames.
IMAGE_AREA = (3136, 12_845_056)
VIDEO_AREA = (128 * 32 * 32, 768 * 32 * 32)
# Frames a second of the video file itself; `fps` of them are used.
FILE_FPS = 30.0


@dataclass(frozen=True)
class Workload:
    """prompt_tokens: of text, with the chat template's. images: (width, height) of each picture. video_size: (width,
    height) of the file. use_audio_in_video: the video's sound is heard too. max_new_tokens, talker_max_new_tokens: the
    longest answer and speech, one Talker token for each frame of 80 ms. batch: as many such conversations at once."""

    prompt_tokens: int = 64
    images: tuple[tuple[int, int], ...] = ()
    audio_seconds: float = 0.0
    video_seconds: float = 0.0
    fps: float = 2.0
    video_size: tuple[int, int] = (1280, 720)
    use_audio_in_video: bool = False
    max_new_tokens: int = 1024
    talker_max_new_tokens: int = 4096
    batch: int = 1

    def __post_init__(self) -> None:
        for name, least in (("prompt_tokens", 1), ("max_new_tokens", 1), ("talker_max_new_tokens", 1), ("batch", 1)):
            _check(name, getattr(self, name), getattr(self, name) >= least, f"at least {least}")
        for name in ("audio_seconds", "video_seconds"):
            value = getattr(self, name)
            _check(name, value, math.isfinite(value) and value >= 0, "a number of seconds, at least 0")
        _check("fps", self.fps, math.isfinite(self.fps) and self.fps > 0, "a number above 0")
        if self.use_audio_in_video and not self.video_seconds:
            raise OmniError("--use-audio-in-video without a video: give --video-seconds")


@dataclass(frozen=True)
class MediaSizes:
    """image_patches: of each picture. frame_patches: of one step of the video (two frames), `video_steps` of them.
    mel_frames: of each sound."""

    image_patches: tuple[int, ...]
    frame_patches: int
    video_steps: int
    mel_frames: tuple[int, ...]
    tokens_per_patch: float

    @property
    def patches(self) -> int:
        """Of pictures and video together."""
        return sum(self.image_patches) + self.frame_patches * self.video_steps

    @property
    def image_tokens(self) -> int:
        """Of all pictures, without the tokens around them."""
        return int(sum(self.image_patches) * self.tokens_per_patch)

    @property
    def video_tokens(self) -> int:
        """Without the tokens around them."""
        return int(self.frame_patches * self.video_steps * self.tokens_per_patch)

    @property
    def audio_tokens(self) -> int:
        """Of all sounds, without the tokens around them."""
        return sum(audio_tokens(frames) for frames in self.mel_frames)

    @property
    def prompt_tokens(self) -> int:
        """What the media add to a prompt."""
        num_media = len(self.image_patches) + bool(self.video_steps) + len(self.mel_frames)
        return self.image_tokens + self.video_tokens + self.audio_tokens + TOKENS_AROUND * num_media


def media_sizes(workload: Workload, config: Any) -> MediaSizes:
    """config: transformers' Qwen3OmniMoeConfig. Raises OmniError for a size that the processor refuses."""
    vision = config.thinker_config.vision_config
    steps = frame = 0
    if workload.video_seconds:
        steps, frame = _video(workload, vision)
    sounds = [workload.audio_seconds] if workload.audio_seconds else []
    sounds += [workload.video_seconds] if workload.use_audio_in_video else []
    return MediaSizes(
        image_patches=tuple(_image(width, height, vision) for width, height in workload.images),
        frame_patches=frame,
        video_steps=steps,
        mel_frames=tuple(round(seconds * MEL_FRAMES_PER_SECOND) for seconds in sounds),
        tokens_per_patch=1 / vision.spatial_merge_size**2,
    )


def audio_tokens(mel_frames: int) -> int:
    """Three convolutions of stride 2 over chunks of 100 frames: 13 tokens a second. Source: transformers 4.57.1
    `_get_feat_extract_output_lengths`."""
    full, tail = divmod(mel_frames, MEL_FRAMES_PER_SECOND)
    for _ in range(3):
        tail = (tail + 1) // 2
    return 13 * full + tail


def _image(width: int, height: int, vision: Any) -> int:
    from ms_omni.inputs.image import SPATIAL_MERGE_SIZE, smart_resize

    try:
        size = smart_resize(height, width, READER_PATCH * SPATIAL_MERGE_SIZE)
        height, width = smart_resize(*size, vision.patch_size * vision.spatial_merge_size, *IMAGE_AREA)
    except OmniError as error:
        raise OmniError(f"--image-pixels {width}x{height}: {error}") from error
    return (height // vision.patch_size) * (width // vision.patch_size)


def _video(workload: Workload, vision: Any) -> tuple[int, int]:
    """(steps of two frames, patches of a step)."""
    from ms_omni.inputs.frame_range import smart_nframes
    from ms_omni.inputs.image import SPATIAL_MERGE_SIZE, smart_resize
    from ms_omni.inputs.video import target_size

    width, height = workload.video_size
    try:
        rate = max(FILE_FPS, workload.fps)
        frames = smart_nframes({"fps": workload.fps}, round(workload.video_seconds * rate), rate)
        size = target_size({}, frames, height, width, READER_PATCH * SPATIAL_MERGE_SIZE)
        height, width = smart_resize(*size, vision.patch_size * vision.spatial_merge_size, *VIDEO_AREA)
    except OmniError as error:
        flags = f"--video-seconds {workload.video_seconds:g}, --video-pixels {width}x{height}"
        raise OmniError(f"{flags}: {error}") from error
    return -(-frames // vision.temporal_patch_size), (height // vision.patch_size) * (width // vision.patch_size)


def _check(name: str, value: Any, holds: bool, allowed: str) -> None:
    if not holds:
        raise OmniError(f"--{name.replace('_', '-')} {value}: expected {allowed}")
