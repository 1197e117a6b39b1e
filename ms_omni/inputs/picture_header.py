"""What a picture's own bytes say before a decoder makes room for it."""

from __future__ import annotations

import struct

from ms_omni.inputs.source import Source

# Progressive JPEGs have about ten scans, and a preview a few more. Each costs as much as a picture, in a few bytes.
_MAX_SCANS = 64


def check_header(source: Source) -> None:
    """Raises OmniError for pictures of a restricted access whose decoders begin before Pillow tells the size: WebP,
    and JPEGs of very many scans."""
    head = source.head(30)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        source.check("max_image_pixels", _webp_pixels(head), "pixels")
    if head[:2] == b"\xff\xd8":
        scans = source.count(b"\xff\xda")
        if scans > _MAX_SCANS:
            raise source.fail(f"a JPEG of {scans} scans; at most {_MAX_SCANS} are allowed")


def _webp_pixels(head: bytes) -> int:
    """RFC 9649."""
    head = head.ljust(30, b"\0")
    if head[12:16] == b"VP8X":
        return _u24(head[24:27]) * _u24(head[27:30])
    if head[12:16] == b"VP8L":
        bits = struct.unpack("<I", head[21:25])[0]
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    width, height = struct.unpack("<HH", head[26:30])
    return (width & 0x3FFF) * (height & 0x3FFF)


def _u24(data: bytes) -> int:
    return int.from_bytes(data, "little") + 1
