"""Decodes an audio track with PyAV to the same samples as `ffmpeg -f s16le`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ms_omni.inputs.av_file import decoded, opened, packets
from ms_omni.inputs.source import Source

# librosa turns 16-bit samples into floats by 2**-15.
_SCALE = np.float32(1 / 32768)
# Plausible rates in Hz: beyond them the resampler would take minutes
RATES = (1_000, 768_000)
# Of restricted accesses
MAX_CHANNELS = 32


def decode_audio_track(source: Source) -> tuple[np.ndarray, int]:
    """(float32 (channels, n), rate) of the track that ffmpeg would pick, through 16-bit samples.

    Raises OmniError naming the medium: no audio track, corrupt, cut short."""
    with opened(source) as container:
        stream = _track(source, container)
        channels = stream.channels
        check_sound(source, stream.rate, channels)
        blocks = list(_decode_blocks(source, container, stream))
        rate = stream.rate
    if not blocks:
        return np.zeros((channels, 0), dtype=np.float32), rate
    interleaved = np.concatenate(blocks)
    return (interleaved.reshape(-1, channels).T * _SCALE).astype(np.float32), rate


def decode_pieces(source: Source) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (float32 (n, channels), rate) for each frame of the same track. Raises the same errors."""
    with opened(source) as container:
        stream = _track(source, container)
        channels, rate = stream.channels, stream.rate
        for block in _decode_blocks(source, container, stream):
            yield block.reshape(-1, channels) * _SCALE, rate


def _decode_blocks(source: Source, container: Any, stream: Any) -> Iterator[np.ndarray]:
    """Interleaved int16 blocks."""
    import av

    resampler = av.AudioResampler(format="s16", layout=stream.layout, rate=stream.rate)
    count = 0
    for packet in packets(source, container, stream):
        for frame in decoded(source, packet):
            count += frame.samples
            check_sound(source, stream.rate, stream.channels, count)
            try:
                blocks = resampler.resample(frame)
            except ValueError as error:
                raise source.fail("changes its sample rate or channels midway") from error
            yield from (block.to_ndarray().reshape(-1) for block in blocks)
    yield from (block.to_ndarray().reshape(-1) for block in resampler.resample(None))


def check_sound(source: Source, rate: int, channels: int, count: int = 0) -> None:
    """Raises OmniError for a sound beyond the limits of a restricted access. count: samples of each channel."""
    if source.access.restricted and not (RATES[0] <= rate <= RATES[1] and 0 < channels <= MAX_CHANNELS):
        raise source.fail(
            f"{channels} channels at {rate} Hz; allowed are 1 to {MAX_CHANNELS} at {RATES[0]} to {RATES[1]} Hz"
        )
    source.check("max_samples", count * channels, "samples in all channels")
    source.check("max_seconds", count / max(rate, 1), "seconds")


def _track(source: Source, container: Any) -> Any:
    """The track that ffmpeg would choose: default tracks first, then the most channels, then the first."""
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]  # decodable ones
    if not streams:
        raise source.fail("has no audio track")
    return max(streams, key=lambda stream: (_is_default(stream), stream.channels, -stream.index))


def _is_default(stream: Any) -> bool:
    import av

    return bool(stream.disposition & av.stream.Disposition.default)
