"""Encodes streamed speech: segments that a browser plays meanwhile, and the whole wave as a file."""

from __future__ import annotations

import wave
from io import BytesIO
from pathlib import Path

import av
import numpy as np

SAMPLE_RATE = 24000  # of what servers stream
FRAME_SAMPLES = 1024  # of AAC
BIT_RATE = 96_000
# Shorter segments end before the browser has requested the next, which causes pauses
SEGMENT_S = 1.0


class AacSegments:
    """One AAC stream, cut into segments of whole frames. Segments that are encoded separately would each begin with the
    encoder's delay, an audible gap."""

    def __init__(self) -> None:
        self._file = BytesIO()
        self._container = av.open(self._file, "w", format="adts")
        self._stream = self._container.add_stream("aac", rate=SAMPLE_RATE)
        self._stream.bit_rate = BIT_RATE
        self._stream.layout = "mono"
        self._num_samples = 0
        self._half = b""  # half of a sample, if a piece ended inside of one

    def put(self, pcm: bytes) -> bytes:
        """pcm: any number of bytes of 16-bit samples. Returns the next segment, in ADTS, once SEGMENT_S are encoded;
        until then b""."""
        data = self._half + pcm
        self._half = data[len(data) // 2 * 2 :]
        samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
        if samples.size:
            self._encode(samples)
        return self._segment() if seconds_of(self._file.getvalue()) >= SEGMENT_S else b""

    def end(self) -> bytes:
        """The last segment; ends the stream."""
        if self._num_samples:
            self._mux(None)
        segment = self._segment()
        self._container.close()
        return segment

    def _encode(self, samples: np.ndarray) -> None:
        frame = av.AudioFrame.from_ndarray((samples[None] / np.float32(32768)), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, self._num_samples
        self._num_samples += samples.size
        self._mux(frame)

    def _mux(self, frame: av.AudioFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _segment(self) -> bytes:
        data = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return data


def seconds_of(adts: bytes) -> float:
    """Duration of whole ADTS frames. 13 bits of the header, from bit 30, are the frame's length (ISO/IEC 13818-7,
    6.2)."""
    count = place = 0
    while place < len(adts):
        place += (adts[place + 3] & 3) << 11 | adts[place + 4] << 3 | adts[place + 5] >> 5
        count += 1
    return count * FRAME_SAMPLES / SAMPLE_RATE


def write_wave(path: Path, pcm: bytes) -> None:
    """16-bit mono samples as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm)
