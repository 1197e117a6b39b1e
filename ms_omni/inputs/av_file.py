"""Opens containers with PyAV and turns FFmpeg's errors, and files cut short, into one-line errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ms_omni.inputs.source import Source
from ms_omni.inputs.truncation import missing_bytes


@contextmanager
def opened(source: Source) -> Iterator[Any]:
    """An `av.container.InputContainer` over the medium. FFmpeg's errors inside the block become OmniErrors, and a file
    that ends early is one before it is decoded."""
    import av

    if missing := missing_bytes(source):
        raise source.fail(f"truncated file ({missing})")
    try:
        with av.open(source.open()) as container:
            yield container
    except av.error.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise source.fail(f"truncated or corrupt file ({reason})") from error


def packets(source: Source, container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream. Raises OmniError for one that the demuxer finds incomplete."""
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise source.fail(f"truncated or corrupt {stream.type}{_place(packet)}")
        yield packet


def decoded(source: Source, packet: Any) -> list[Any]:
    """The frames of a packet. Raises OmniError when the decoder cannot read it."""
    import av

    try:
        return packet.decode()
    except av.error.EOFError:  # after the last packet
        return []
    except av.error.FFmpegError as error:
        raise source.fail(f"corrupt {packet.stream.type}{_place(packet)} ({error.strerror})") from error


def _place(packet: Any) -> str:
    return "" if packet.pts is None else f" at second {float(packet.pts * packet.time_base):.2f}"
