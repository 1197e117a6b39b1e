"""Refuses MP4 and MOV files of a few hundred bytes for whose tables FFmpeg would allocate gigabytes.

FFmpeg 8 allocates 37 bytes for each sample that a table states, before it checks that the file holds it; measured: a
file of 652 bytes that states 10 million samples takes 371 MiB. An edit list multiplies the samples by its entries."""

from __future__ import annotations

import re
import struct

from ms_omni.inputs.source import Source

# Boxes that an MP4 may begin with; FFmpeg must not read other files as MP4.
_FIRST = (b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid")
# Name of a box -> offset of its entry count. iloc and iinf, of HEIF, have a count of 32 bits in versions 1 and 2 only.
_COUNTS = {b"stsz": 12, b"stz2": 12, b"trun": 8, b"elst": 8, b"iloc": 10, b"iinf": 8}
_NAMES = re.compile(b"|".join((*_COUNTS, b"cmov")))


def is_mp4(source: Source) -> bool:
    """Whether the file begins with a box of MP4 or MOV."""
    return source.head(8)[4:] in _FIRST


def check_index(source: Source) -> None:
    """Raises OmniError when the tables of an MP4 state more entries than a restricted access allows, or are
    compressed."""
    entries, edits, data = 0, 0, source.contents()
    for start, end in _without_media(data):
        for match in _NAMES.finditer(data, start, end):
            name, position = match.group(), match.start()
            if name == b"cmov":
                raise source.fail("an MP4 with a compressed index, which is not allowed")
            count = _count(data, position + _COUNTS[name])
            if name == b"elst":
                edits += count
            elif name not in (b"iloc", b"iinf") or data[position + 4 : position + 5] in (b"\1", b"\2"):
                entries += count
    source.check("max_index_entries", entries * max(edits, 1), "entries in its index")


def _count(data: bytes, position: int) -> int:
    return struct.unpack(">I", data[position : position + 4].ljust(4, b"\0"))[0]


def _without_media(data: bytes) -> list[tuple[int, int]]:
    """(start, end) of everything outside of `mdat` boxes. Box names are searched in the bytes, not in the tree of
    boxes, because FFmpeg follows broken trees in its own way."""
    spans, start, position = [], 0, 0
    while position + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[position : position + 8])
        if length == 1:
            length = struct.unpack(">Q", data[position + 8 : position + 16].ljust(8, b"\0"))[0]
        if length < 8 or position + length > len(data):
            break
        if name == b"mdat":
            spans.append((start, position))
            start = position + length
        position += length
    return [*spans, (start, len(data))]
