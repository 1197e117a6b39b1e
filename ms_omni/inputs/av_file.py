"""Opens containers with PyAV and turns FFmpeg's errors, and files cut short, into one-line errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ms_omni.inputs.mp4_index import check_index, is_mp4
from ms_omni.inputs.source import Source
from ms_omni.inputs.truncation import check_whole

# FFmpeg's demuxers for self-contained files. Others open the files that a file names (hls, dash, concat, sdp, image2).
FORMATS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "apng", "asf", "au", "av1", "avi", "caf", "dsf", "dts",
    "dtshd", "dv", "eac3", "flac", "flv", "gif", "gxf", "h261", "h263", "h264", "hevc", "iff", "ivf", "loas", "m4v",
    "matroska", "mjpeg", "mlp", "mov", "mp3", "mpc", "mpc8", "mpeg", "mpegts", "mpegvideo", "mxf", "nut", "obu", "ogg",
    "oma", "qoa", "rm", "rso", "tak", "truehd", "tta", "vc1", "voc", "vvc", "w64", "wav", "wtv", "wv", "xwma",
    "yuv4mpegpipe",
)  # fmt: skip
# For restricted accesses only common formats: every further demuxer adds attack surface.
RESTRICTED_FORMATS = (
    "aac", "aiff", "amr", "avi", "caf", "flac", "flv", "gif", "matroska", "mov", "mp3", "mpeg", "mpegts", "ogg", "wav",
)  # fmt: skip
MAX_STREAMS = 32


@contextmanager
def opened(source: Source) -> Iterator[Any]:
    """An `av.container.InputContainer` over the medium. FFmpeg's errors inside the block become OmniErrors; a
    truncated file is refused before it is decoded."""
    import av

    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
    if source.access.restricted:
        options |= _restricted(source)
    check_whole(source)
    try:
        with _container(source, options) as container:
            for stream in container.streams.video:
                if stream.codec_context is not None and source.access.restricted:
                    stream.codec_context.options = {"max_pixels": options["max_pixels"]}
            yield container
    except av.error.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise source.fail(f"truncated or corrupt file ({reason})") from error


def _restricted(source: Source) -> dict[str, str]:
    """FFmpeg's options for a restricted access. The tables of an MP4 are checked first."""
    if is_mp4(source):
        check_index(source)
        formats = ["mov"]
    else:
        formats = [name for name in RESTRICTED_FORMATS if name != "mov"]
    pixels = str(source.access.max_frame_pixels)
    return {"format_whitelist": ",".join(formats), "max_pixels": pixels, "max_streams": str(MAX_STREAMS)}


def _container(source: Source, options: dict[str, str]) -> Any:
    """Paths get the protocol `file:`, since a file's name may look like a URL of another protocol."""
    import av

    try:
        place = source.open() if source.path is None else f"file:{source.path}"
        return av.open(
            place, options=options, metadata_errors="replace"
        )  # titles may have any encoding, and are not used
    except av.error.ArgumentError as error:  # raised by the whitelists
        raise source.fail("not of a format that is read as sound or video") from error


def packets(source: Source, container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream. Raises OmniError for one that the demuxer finds incomplete."""
    for packet in container.demux(stream):
        source.check_time()
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
