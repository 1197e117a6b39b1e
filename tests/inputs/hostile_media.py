"""Media that ask for more than they are: a few hundred bytes each."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def png(width: int, height: int, text: bytes | None = None) -> bytes:
    """A picture of 1 x 1 pixels that says it is larger; text: of a compressed comment."""
    head = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    comment = b"" if text is None else _png_chunk(b"zTXt", b"note\0\0" + zlib.compress(text, 9))
    body = _png_chunk(b"IDAT", zlib.compress(b"\0\0\0\0"))
    return b"\x89PNG\r\n\x1a\n" + head + comment + body + _png_chunk(b"IEND", b"")


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def saved(form: str, size: tuple[int, int] = (64, 64), **options) -> bytearray:
    target = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(target, form, **options)
    return bytearray(target.getvalue())


def gif(width: int, height: int) -> bytes:
    data = saved("GIF")
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def gif_frame(width: int, height: int) -> bytes:
    """The screen is small, its first picture is not."""
    data = saved("GIF")
    at = data.index(b"\x2c", 13 + 3 * 2 ** ((data[10] & 7) + 1))
    data[at + 5 : at + 9] = struct.pack("<HH", width, height)
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    data = saved("BMP")
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def webp(width: int, height: int) -> bytes:
    data = saved("WEBP")
    data[26:30] = struct.pack("<HH", width, height)
    return bytes(data)


def ico_with_large_png(side: int) -> bytes:
    """The list says 16 x 16, the PNG inside says otherwise."""
    inside = png(side, side)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 24, len(inside), 22) + inside


def jpeg_of_scans(count: int) -> bytes:
    """Progressive, its last scan repeated."""
    data = bytes(saved("JPEG", progressive=True))
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def wave(rate: int, channels: int, bytes_of_sound: int = 64, promised: int | None = None) -> bytes:
    """promised: bytes of sound that the header says there are; 0xFFFFFFFF says that they are not known."""
    block = channels * 2
    form = struct.pack("<HHIIHH", 1, channels & 0xFFFF, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, 16)
    sound = bytes(bytes_of_sound)
    size = len(sound) if promised is None else promised
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size) + sound
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def flac_of_samples(count: int, rate: int = 16000) -> bytes:
    """A header alone, of so many samples."""
    bits = rate << 44 | 0 << 41 | 15 << 36 | count
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + bits.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + struct.pack(">I", 0x80 << 24 | len(info)) + info + bytes(64)


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def words(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def mp4(
    samples: int = 2, edits: int = 1, more: bytes = b"", reference: bytes | None = None, name: str = "jpeg"
) -> bytes:
    """A film whose tables say that it has `samples` frames, in `edits` edits. more: further boxes. reference: the box
    that says which file has the frames."""
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    times = full(b"mvhd", words(0, 0, 1000, 10000, 0x10000), b"\1\0", bytes(10), matrix, bytes(24), words(2))
    head = box(b"tkhd", b"\0\0\0\7", words(0, 0, 1, 0, 10000), bytes(16), matrix, words(16 << 16, 16 << 16))
    edit = box(b"edts", full(b"elst", words(edits), struct.pack(">IiI", 10000, 0, 0x10000) * edits))
    handler = full(b"hdlr", bytes(4), b"vide", bytes(12), b"v\0")
    entry = box(
        name.encode(), bytes(6), b"\0\1", bytes(16), struct.pack(">HH", 16, 16), words(0x480000, 0x480000, 0), b"\0\1",
        bytes(32), struct.pack(">Hh", 24, -1),
    )  # fmt: skip
    media = box(b"dinf", full(b"dref", words(1), reference or box(b"url ", b"\0\0\0\1")))
    tables = box(
        b"stbl", full(b"stsd", words(1), entry), full(b"stts", words(1, samples, 100)),
        full(b"stsc", words(1, 1, samples, 1)), full(b"stsz", words(1, samples)), full(b"stco", words(1, 44)),
    )  # fmt: skip
    inside = box(b"mdia", full(b"mdhd", words(0, 0, 1000, 10000), b"\x55\xc4\0\0"), handler,
                 box(b"minf", full(b"vmhd", bytes(8)), media, tables))  # fmt: skip
    track = box(b"trak", head, edit, inside)
    return box(b"ftyp", b"isom\0\0\2\0isommp41") + box(b"mdat", bytes(4096)) + box(b"moov", times, track) + more


def full(name: bytes, *parts: bytes) -> bytes:
    return box(name, bytes(4), *parts)


def fragment(samples: int) -> bytes:
    run = box(b"trun", words(1, samples, 0))
    return box(b"moof", full(b"mfhd", words(1)), box(b"traf", box(b"tfhd", b"\0\2\0\0", words(1)), run))


def heif_items(name: bytes, count: int) -> bytes:
    head = b"\2\0\0\0\x44\0" if name == b"iloc" else b"\1\0\0\0"
    return full(b"meta", full(b"hdlr", bytes(4), b"pict", bytes(13)), box(name, head, words(count), bytes(64)))
