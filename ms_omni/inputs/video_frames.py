"""Decodes chosen frames of a video with PyAV."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ms_omni.inputs.av_file import check_duration, check_packet_count, opened, packet_end_s
from ms_omni.inputs.source import Source


def probe(source: Source) -> tuple[int, float]:
    """(number of frames, frames a second) of the first video track, as decord counts them: by its packets.

    Raises OmniError naming the video: no video track, no frames, cut short."""
    with opened(source) as container:
        stream = _video_stream(source, container)
        rate = stream.average_rate
        count, last_s = 0, 0.0
        for packet in container.demux(stream):
            count += packet.size > 0
            last_s = max(last_s, packet_end_s(packet))
        check_packet_count(source, stream, count)
        check_duration(source, container, last_s)
    if count < 2:
        raise source.fail(f"has {count} frame{'' if count == 1 else 's'}, at least 2 are needed")
    if not rate:
        raise source.fail("states no frame rate")
    return count, float(rate)


def decode_frames(source: Source, indices: Sequence[int], total: int) -> np.ndarray:
    """uint8 (len(indices), 3, H, W): the frames at `indices` (ascending, repeats allowed) in presentation order.

    Raises OmniError when a frame up to the last one wanted cannot be decoded."""
    wanted = set(indices)
    frames: dict[int, np.ndarray] = {}
    with opened(source) as container:
        stream = _video_stream(source, container)
        stream.thread_type = "AUTO"
        for index, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise source.fail(f"corrupt video (frame {index})")
            if index in wanted:
                frames[index] = frame.to_ndarray(format="rgb24").transpose(2, 0, 1)
            if len(frames) == len(wanted):
                break
    missing = sorted(wanted - set(frames))
    if missing:
        raise source.fail(f"truncated or corrupt video (frame {missing[0]} of {total} cannot be decoded)")
    return np.stack([frames[index] for index in indices])


def _video_stream(source: Source, container):
    if not container.streams.video:
        raise source.fail("has no video track")
    return container.streams.video[0]
