"""Finds MP4 and MOV files whose tables make FFmpeg reserve gigabytes for a few hundred bytes.

FFmpeg 8 keeps 37 bytes for each sample that a table says there is, before it looks whether the file has it; measured:
652 bytes that say 10 million samples take 371 MiB. An edit list multiplies the samples by its entries."""

from __future__ import annotations

import re
import struct

from ms_omni.inputs.source import Source

# What the file may begin with; else FFmpeg is not asked to read it as MP4.
_FIRST = (b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid")
# Name -> where its count stands behind the name. iloc and iinf, of HEIF, have one of 32 bits in these versions alone.
_COUNTS = {b"stsz": 12, b"stz2": 12, b"trun": 8, b"elst": 8, b"iloc": 10, b"iinf": 8}
_NAMES = re.compile(b"|".join((*_COUNTS, b"cmov")))


def is_mp4(source: Source) -> bool:
    """Whether the file begins with a box of MP4 or MOV."""
    return source.head(8)[4:] in _FIRST


def check_index(source: Source) -> None:
    """Raises OmniError when the tables of an MP4 of a restricted access stand for more entries than it allows, or are
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
    """(start, end) of all that is not inside an `mdat`. Names are looked for in the bytes, not in the tree of boxes:
    FFmpeg follows broken trees in ways of its own."""
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
