"""Opens containers with PyAV and turns FFmpeg's errors, and files cut short, into one-line errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ms_omni.inputs.source import Source

# A Matroska file states its length only as a duration; frames round it to less than this.
_DURATION_TOLERANCE_S = 0.5


@contextmanager
def opened(source: Source) -> Iterator[Any]:
    """An `av.container.InputContainer` over the medium. FFmpeg's errors inside the block become OmniErrors."""
    import av

    try:
        with av.open(source.open()) as container:
            yield container
    except av.error.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise source.fail(f"truncated or corrupt file ({reason})") from error


def check_packet_count(source: Source, stream: Any, found: int) -> None:
    """Raises OmniError when the container's index names more packets than it holds (an MP4 cut short)."""
    if stream.frames and found < stream.frames:
        raise source.fail(f"truncated {stream.type} ({found} of {stream.frames} frames)")


def check_duration(source: Source, container: Any, last_s: float) -> None:
    """Raises OmniError when the packets end well before the duration that a Matroska or WebM header states."""
    if "matroska" not in container.format.name or not container.duration:
        return
    promised = container.duration / 1_000_000  # AV_TIME_BASE: microseconds
    if last_s < promised - _DURATION_TOLERANCE_S:
        raise source.fail(f"truncated file (ends at {last_s:.2f} of {promised:.2f} s)")


def packet_end_s(packet: Any) -> float:
    """Where a packet ends, in seconds; 0 for one without a time."""
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)
