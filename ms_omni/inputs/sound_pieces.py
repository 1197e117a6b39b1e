"""Reads the sound of a file of any length in pieces: mono float32 at 16 kHz, equal to what `read_audio` returns."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ms_omni.errors import OmniError
from ms_omni.inputs.audio import SAMPLE_RATE, check_rate, sound_file
from ms_omni.inputs.av_audio import decode_pieces
from ms_omni.inputs.av_file import opened
from ms_omni.inputs.source import Source

# A piece is one second, or less where the file has so many channels that a second has more values than this (4 MB)
_MAX_VALUES = 1 << 20
# FFmpeg's durations of whole files are in microseconds
_AV_TIME_BASE = 1_000_000


class RecordingTooLong(OmniError):
    """The recording lasts longer than the caller takes."""


def read_pieces(source: Source, max_seconds: float = math.inf) -> Iterator[np.ndarray]:
    """float32 (num_samples,) at 16 kHz, one piece after the other; memory does not grow with the recording.

    Raises OmniError naming the medium: undecodable, truncated, without samples. Raises RecordingTooLong before reading
    where libsndfile knows the length, else as soon as max_seconds are exceeded."""
    num_samples = 0
    for piece in _at_16_khz(source, _decoded(source, max_seconds)):
        num_samples += piece.size
        _check_length(source, num_samples / SAMPLE_RATE, max_seconds)
        yield piece
    if not num_samples:
        raise source.fail("empty audio (no samples)")


def stated_seconds(source: Source) -> float | None:
    """Duration of the sound as the file's header states it; None if it does not.
    Raises OmniError naming the medium: undecodable, truncated."""
    file = sound_file(source)
    if file is not None:
        with file:
            return file.frames / file.samplerate
    with opened(source) as container:
        return None if container.duration is None else container.duration / _AV_TIME_BASE


def _decoded(source: Source, max_seconds: float) -> Iterator[tuple[np.ndarray, int]]:
    """(samples (n, channels) float32, rate): libsndfile first, FFmpeg for what it cannot read."""
    import soundfile

    file = sound_file(source)
    if file is None:
        yield from decode_pieces(source)
        return
    with file:
        _check_length(source, file.frames / file.samplerate, max_seconds)
        size = max(1, min(file.samplerate, _MAX_VALUES // file.channels))
        try:
            while (samples := file.read(size, dtype="float32", always_2d=True)).size:
                yield samples, file.samplerate
        except soundfile.LibsndfileError as error:
            raise source.fail(f"truncated or corrupt file ({error.error_string})") from error


def _at_16_khz(source: Source, pieces: Iterator[tuple[np.ndarray, int]]) -> Iterator[np.ndarray]:
    """Mixed down and resampled as `finish_audio` does, to ceil(n * 16000 / rate) samples in all."""
    import soxr

    resampler, rate, num_read, num_given = None, SAMPLE_RATE, 0, 0
    for samples, rate in pieces:
        mono = np.mean(samples, axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise source.fail("corrupt audio (samples that are not finite)")
        check_rate(source, rate)
        num_read += mono.size
        if rate != SAMPLE_RATE:
            resampler = resampler or soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", "HQ")
            mono = resampler.resample_chunk(mono)
        num_given += mono.size
        if mono.size:
            yield mono
    if resampler is not None:
        last = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        left = max(0, math.ceil(num_read * (SAMPLE_RATE / rate)) - num_given)
        if left:
            yield np.pad(last[:left], (0, left - last[:left].size))


def _check_length(source: Source, seconds: float, max_seconds: float) -> None:
    if seconds > max_seconds:
        raise RecordingTooLong(str(source.fail(f"lasts longer than {max_seconds:g} s, which is the most")))
