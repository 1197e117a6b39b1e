"""Refuses truncated files that decoders would play without an error. Most containers state their length.

Libsndfile and FFmpeg report nothing for a cut WAV, RF64, AIFF, AU, Ogg, MP3 or Matroska file (the tests try each), nor
for an MP4 that is cut between two packets."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO

from ms_omni.inputs.source import Source

# Placeholder sizes of recorders that write to a pipe and cannot complete the header.
_RIFF_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF, 0xFFFFF000)
_TS_PACKET = 188
_RIFF_CHUNKS = (b"fmt ", b"fact", b"data", b"LIST", b"JUNK", b"idx1", b"bext", b"cue ", b"PEAK")
_EBML_SEGMENT = b"\x18\x53\x80\x67"


def check_whole(source: Source) -> None:
    """Raises OmniError when the file ends before its own headers say. Files that state no length pass (a FLAC states
    its samples: the reader counts them)."""
    check = _check_of(source.head(_TS_PACKET + 1))
    if check is None:
        return
    with open(source.path, "rb") if source.path is not None else BytesIO(source.data or b"") as file:
        missing = check(file, file.seek(0, os.SEEK_END))
    if missing:
        raise source.fail(f"truncated file ({missing})")


def _check_of(head: bytes) -> _Check | None:
    if head[4:8] == b"ftyp":
        return _cut_mp4
    if head[:4] in _BY_MAGIC:
        return _BY_MAGIC[head[:4]]
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return _cut_mp3
    if len(head) > _TS_PACKET and head[0] == head[_TS_PACKET] == 0x47:
        return _cut_ts
    return None


def _cut_riff(file: BinaryIO, size: int) -> str | None:
    """WAV and AVI: every chunk states its length. Bytes after the sound, and unknown chunks, are not checked."""
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        left = size - position - 8
        if name not in _RIFF_CHUNKS or (length in _RIFF_UNKNOWN_SIZES and name in (b"data", b"LIST")):
            return None
        if length > left:
            return f"{left} of {length} bytes in chunk {name.decode()!r}"
        if name == b"data":
            return None
        position += 8 + length + (length & 1)
    return None


def _cut_rf64(file: BinaryIO, size: int) -> str | None:
    """EBU Tech 3306: a WAV with its length in 64 bits, in the first chunk."""
    file.seek(20)
    return _short(8 + struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0], size)


def _cut_aiff(file: BinaryIO, size: int) -> str | None:
    file.seek(4)
    return _short(8 + struct.unpack(">I", file.read(4))[0], size)


def _cut_au(file: BinaryIO, size: int) -> str | None:
    file.seek(4)
    start, length = struct.unpack(">II", file.read(8))
    return None if length == 0xFFFFFFFF else _short(start + length, size)


def _short(promised: int, size: int) -> str | None:
    return f"{size} of {promised} bytes" if size < promised else None


def _cut_ogg(file: BinaryIO, size: int) -> str | None:
    """RFC 3533: pages follow each other without gaps, each knowing its own length."""
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(27)
        if header[:4] != b"OggS"[: len(header)]:
            return None  # something else follows the stream: not checked
        lengths = file.read(header[26]) if len(header) == 27 else b""
        position += 27 + len(lengths) + sum(lengths)
        if len(header) < 27 or len(lengths) < header[26] or position > size:
            return "the last Ogg page is incomplete"
    return None


def _cut_mp4(file: BinaryIO, size: int) -> str | None:
    """ISO/IEC 14496-12: boxes follow each other, each stating its length (0: up to the end, 1: 64 bits follow)."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        if not name.isalnum():
            return None  # not a box: something else follows the boxes
        if length == 1:
            large = file.read(8)
            length = struct.unpack(">Q", large)[0] if len(large) == 8 else size + 1
        if length == 0:
            return None
        if length < 8:
            return f"box {name.decode()!r} has length {length}"
        if position + length > size:
            return f"{size - position} of {length} bytes in box {name.decode()!r}"
        position += length
    return None


def _cut_matroska(file: BinaryIO, size: int) -> str | None:
    """RFC 8794: the EBML header, then one Segment, each stating its length (all ones: unknown, as in live streams)."""
    position = 0
    while position + 12 <= size:
        file.seek(position)
        name = file.read(4)
        length, width, is_unknown = _vint(file)
        if is_unknown:
            return None
        end = position + 4 + width + length
        if end > size:
            return (
                f"{size - position} of {end - position} bytes in {'the segment' if name == _EBML_SEGMENT else name!r}"
            )
        position = end
        if name == _EBML_SEGMENT:
            return None
    return None


def _cut_mp3(file: BinaryIO, size: int) -> str | None:
    """LAME and FFmpeg put a Xing frame first that states the length of the sound in bytes."""
    file.seek(0)
    head = file.read(10)
    position = 0
    if head[:3] == b"ID3":  # ID3v2 counts its length in groups of seven bits
        position = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
    file.seek(position)
    frame = file.read(200)
    mark = max(frame.find(b"Xing"), frame.find(b"Info"))
    if mark < 0 or len(frame) < mark + 16:
        return None
    flags, _, length = struct.unpack(">III", frame[mark + 4 : mark + 16])
    if flags & 3 != 3 or position + length <= size:  # 3: both the frames and the bytes are stated
        return None
    return f"{size - position} of {length} bytes of sound"


def _cut_ts(file: BinaryIO, size: int) -> str | None:
    """MPEG transport streams are packets of 188 bytes. They state no length, but few cuts fall between two packets."""
    return f"the last packet has {size % _TS_PACKET} of {_TS_PACKET} bytes" if size % _TS_PACKET else None


def _vint(file: BinaryIO) -> tuple[int, int, bool]:
    """(value, width in bytes, whether it means an unknown length) of EBML's variable-length integer."""
    first = file.read(1)[0]
    width = 9 - first.bit_length()
    rest = file.read(max(width - 1, 0))
    mask = (1 << (7 * width)) - 1
    value = int.from_bytes(bytes([first]) + rest, "big") & mask
    return value, width, value == mask or width > 8


_Check = Callable[[BinaryIO, int], str | None]
_BY_MAGIC: dict[bytes, _Check] = {
    b"RIFF": _cut_riff,
    b"RF64": _cut_rf64,
    b"FORM": _cut_aiff,
    b".snd": _cut_au,
    b"OggS": _cut_ogg,
    b"\x1a\x45\xdf\xa3": _cut_matroska,
}
