"""`process_mm_info` of qwen-omni-utils 0.0.9 without torch: the media of conversations, ready for the processor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ms_omni.config import MEDIA_READERS, check_reader
from ms_omni.errors import OmniError
from ms_omni.inputs.access import UNRESTRICTED, MediaAccess, check_counts
from ms_omni.inputs.audio import read_audio, read_video_audio
from ms_omni.inputs.conversation import validate_conversation
from ms_omni.inputs.image import fetch_image
from ms_omni.inputs.schema import media_parts
from ms_omni.inputs.source import Source, open_source
from ms_omni.inputs.video import fetch_video


def process_mm_info(
    conversations: Any,
    use_audio_in_video: bool,
    return_video_kwargs: bool = False,
    return_video_metadata: bool = False,
    image_patch_size: int = 14,
    reader: str = "auto",
    video_dtype: Any = np.float32,
    access: MediaAccess = UNRESTRICTED,
) -> tuple[Any, ...]:
    """(audios, images, videos) of one conversation or a list of them, each None when there is none.

    audios: float32 (num_samples,) at 16 kHz, in the order they appear; with `use_audio_in_video` the sound of every
    video is among them. images: RGB PIL images. videos: float32 (T, 3, H, W), values 0..255, or (video, metadata) with
    `return_video_metadata`. With `return_video_kwargs` a fourth item, {"do_sample_frames": False, "fps": [...]}.

    video_dtype: np.uint8 holds the same values in a quarter of the memory.
    reader: "qwen_omni_utils" calls that package (the extra of this name; it needs torch); "auto" and "ms_omni" read
    without torch.
    access: where media may come from and how large they may be; by default anything.
    Raises OmniError naming the message or the medium that is wrong."""
    if reader not in MEDIA_READERS:
        raise OmniError(f"reader {reader!r}: expected one of {', '.join(MEDIA_READERS)}")
    check_reader(reader, access)
    batch, access = _as_batch(conversations), access.begun()
    for conversation in batch:
        check_counts(conversation, access)
    if reader == "qwen_omni_utils":
        return _delegate(batch, use_audio_in_video, return_video_kwargs, return_video_metadata, image_patch_size)
    audios: list[Any] = []
    images: list[Any] = []
    videos: list[Any] = []
    rates: list[float] = []
    for kind, medium, part in _parts(batch):
        if kind == "image":
            images.append(fetch_image(part, image_patch_size, access))
        elif kind == "audio":
            audios.append(read_audio(medium, part.get("audio_start", 0.0), part.get("audio_end"), access))
        else:
            if isinstance(medium, str):  # opened once, for its sound and its frames
                medium = open_source(medium, "video", access)
            if use_audio_in_video:
                audios.append(_sound_of(medium, part, access))
            part = {**part, "video": medium}
            frames, metadata, sample_fps = fetch_video(part, image_patch_size, video_dtype, access)
            videos.append((frames, metadata) if return_video_metadata else frames)
            rates.append(sample_fps)
        _check_memory(audios, images, videos, access)
    result = (audios or None, images or None, videos or None)
    return (*result, _video_kwargs(rates, return_video_metadata)) if return_video_kwargs else result


def _as_batch(conversations: Any) -> list[list[dict[str, Any]]]:
    is_batch = isinstance(conversations, list) and conversations and isinstance(conversations[0], list)
    if not is_batch:
        return [validate_conversation(conversations)]
    return [validate_conversation(one, f"conversation {index}") for index, one in enumerate(conversations)]


def _parts(batch: list[list[dict[str, Any]]]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    for conversation in batch:
        yield from media_parts(conversation)


def _sound_of(medium: Any, part: dict[str, Any], access: MediaAccess) -> np.ndarray:
    if not isinstance(medium, Source):
        raise OmniError("a video given as frames has no audio track; use_audio_in_video needs a video file")
    return read_video_audio(medium, part.get("video_start", 0.0), part.get("video_end"), access)


def _check_memory(audios: list[Any], images: list[Any], videos: list[Any], access: MediaAccess) -> None:
    frames = (video[0] if isinstance(video, tuple) else video for video in videos)
    count = sum(audio.nbytes for audio in audios) + sum(3 * image.width * image.height for image in images)
    count += sum(video.size for video in frames)
    Source("conversation", access=access).check("max_decoded_bytes", count, "bytes of media")


def _video_kwargs(rates: list[float], with_metadata: bool) -> dict[str, Any]:
    return {"do_sample_frames": False} if with_metadata else {"do_sample_frames": False, "fps": rates}


def _delegate(batch: list[list[dict[str, Any]]], *options: Any) -> tuple[Any, ...]:
    """The package itself; its torch videos become numpy arrays."""
    try:
        from qwen_omni_utils import process_mm_info as original
    except Exception as error:  # a torchvision made for another torch raises RuntimeError
        why = " ".join(str(error).split()) or type(error).__name__
        raise OmniError(
            f"reader 'qwen_omni_utils': cannot be imported ({why}); pip install 'ms-omni[qwen-omni-utils]', or use "
            "reader 'auto'"
        ) from error
    try:
        audios, images, videos, *rest = original(batch, *options)
    except Exception as error:
        raise OmniError(f"qwen_omni_utils: {' '.join(str(error).split()) or type(error).__name__}") from error
    if videos is not None:
        videos = [(v[0].numpy(), v[1]) if isinstance(v, tuple) else v.numpy() for v in videos]
    return (audios, images, videos, *rest)
