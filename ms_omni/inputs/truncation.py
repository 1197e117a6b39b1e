"""Notices audio files cut short that decoders play without complaint: RIFF and Ogg say how long they should be."""

from __future__ import annotations

import os
import struct

from ms_omni.inputs.source import Source

# Sizes that recorders leave in a header they cannot go back to (pipes): no promise.
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF, 0xFFFFF000)


def cut_container(source: Source) -> str | None:
    """What is missing, in words, when the file ends before its own headers say; None when it is whole or of a kind
    that makes no promise."""
    head = source.head(12)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _cut_wave(source)
    if head[:4] == b"OggS":
        return _cut_ogg(source)
    return None


def _cut_wave(source: Source) -> str | None:
    position = 12
    size = _size(source)
    with _stream(source) as file:
        while position + 8 <= size:
            file.seek(position)
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"data":
                left = size - position - 8
                if length in _UNKNOWN_SIZES or length <= left:
                    return None
                return f"{left} of {length} bytes of sound"
            position += 8 + length + (length & 1)
    return "no sound in it"


def _cut_ogg(source: Source) -> str | None:
    """RFC 3533: pages follow each other without gaps, each knowing its own length."""
    position = 0
    size = _size(source)
    with _stream(source) as file:
        while position < size:
            file.seek(position)
            header = file.read(27)
            if len(header) < 27:
                return "the last page is incomplete"
            if header[:4] != b"OggS":
                return None  # something else follows the stream: not ours to judge
            lengths = file.read(header[26])
            position += 27 + header[26] + sum(lengths)
            if len(lengths) < header[26] or position > size:
                return "the last page is incomplete"
    return None


def _size(source: Source) -> int:
    return os.path.getsize(source.path) if source.path is not None else len(source.data or b"")


def _stream(source: Source):
    return open(source.path, "rb") if source.path is not None else source.open()
