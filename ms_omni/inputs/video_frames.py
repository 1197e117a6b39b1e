"""Decodes chosen frames of a video with PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ms_omni.inputs.av_file import decoded, opened, packets
from ms_omni.inputs.source import Source


def probe(source: Source) -> tuple[int, float]:
    """(number of frames, frames a second) of the best video track, counted as decord does: packets, average rate.

    Packets that an edit list hides do not count (decord counts them and repeats the last frame in their place).
    Raises OmniError naming the video: no video track, fewer than two frames, cut short."""
    with opened(source) as container:
        stream = _video_stream(source, container)
        rate = stream.average_rate or stream.guessed_rate
        size = stream.width * stream.height
        if source.access.restricted and not size:  # FFmpeg stopped at its own limit
            raise source.fail(f"has frames of more than {source.access.max_frame_pixels} pixels, or of none")
        count = 0
        for number, packet in enumerate(packets(source, container, stream), 1):
            source.check("max_video_packets", number, "packets")
            count += packet.size > 0 and not packet.is_discard
    source.check("max_video_pixels", count * size, "pixels in all frames")
    source.check("max_seconds", float(count / rate) if rate else 0, "seconds")
    if count < 2:
        raise source.fail(f"has {count} frame{'' if count == 1 else 's'}, at least 2 are needed")
    if not rate:
        raise source.fail("states no frame rate")
    return count, float(rate)


def decode_frames(
    source: Source, indices: Sequence[int], total: int, fit: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """uint8 (len(indices), 3, h, w): the frames at `indices` (repeats allowed) in presentation order, upright, each
    brought to its size by `fit`, (3, H, W) -> (3, h, w).

    Raises OmniError when a frame up to the last one wanted cannot be decoded."""
    wanted, last = set(indices), max(indices)
    frames: dict[int, np.ndarray] = {}
    with opened(source) as container:
        stream = _video_stream(source, container)
        stream.thread_type = "AUTO"
        for index, frame in enumerate(_decode(source, container, stream)):
            source.check("max_frame_pixels", frame.width * frame.height, "pixels a frame")
            if frame.is_corrupt:
                raise source.fail(f"corrupt video (frame {index} of {total})")
            if index in wanted:
                frames[index] = fit(_upright(frame))
            if index == last:
                break
    missing = sorted(wanted - set(frames))
    if missing:
        raise source.fail(f"truncated or corrupt video (frame {missing[0]} of {total} cannot be decoded)")
    if len({frame.shape for frame in frames.values()}) > 1:
        raise source.fail("changes its frame size midway")
    return np.stack([frames[index] for index in indices])


def _decode(source: Source, container: Any, stream: Any) -> Iterator[Any]:
    for packet in packets(source, container, stream):
        yield from decoded(source, packet)


def _upright(frame: Any) -> np.ndarray:
    """uint8 (3, H, W), turned by the display matrix (phones record sideways) as decord does."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.rot90(pixels, round(frame.rotation / 90)).transpose(2, 0, 1)


def _video_stream(source: Source, container: Any) -> Any:
    stream = container.streams.best("video")  # FFmpeg's choice: no cover pictures
    if stream is None or stream.codec_context is None:
        raise source.fail("has no video track")
    return stream
