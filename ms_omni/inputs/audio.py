"""Reads audio as qwen-omni-utils 0.0.9 does through librosa: mono float32 at 16 kHz."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ms_omni.errors import OmniError
from ms_omni.inputs.access import UNRESTRICTED, MediaAccess
from ms_omni.inputs.av_audio import RATES, check_sound, decode_audio_track
from ms_omni.inputs.source import Source, open_source
from ms_omni.inputs.truncation import check_whole

SAMPLE_RATE = 16_000
_USUAL = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd", b"caff", b"ID3")
# libsndfile's SF_COUNT_MAX: the file does not state its length
_UNKNOWN_FRAMES = 2**63 - 1


def read_audio(
    value: Any, start: float = 0.0, end: float | None = None, access: MediaAccess = UNRESTRICTED
) -> np.ndarray:
    """float32 (num_samples,) at 16 kHz of a path, file://, http(s)://, data: URI or a mono 16 kHz array.

    `start` and `end` are seconds, cut before resampling. Raises OmniError naming the medium: missing, undecodable,
    truncated, without samples, or shorter than `start`."""
    if isinstance(value, np.ndarray):
        return _from_array(value, start, end)
    source = open_source(value, "audio", access)
    # qwen-omni-utils hands URLs to ffmpeg, which gives 16-bit samples, and everything else to libsndfile.
    samples, rate = _decode_with_av(source, start, end) if source.is_remote else _decode(source, start, end)
    return finish_audio(samples, rate, source, start)


def read_video_audio(
    value: str | Source, start: float = 0.0, end: float | None = None, access: MediaAccess = UNRESTRICTED
) -> np.ndarray:
    """The sound of a video, as `read_audio`. Raises OmniError also when the video has no audio track."""
    source = open_source(value, "video", access)
    samples, rate = _decode_with_av(source, start, end)
    return finish_audio(samples, rate, source, start)


def finish_audio(samples: np.ndarray, rate: int, source: Source, start: float = 0.0) -> np.ndarray:
    """(n,) or (channels, n) at `rate` -> (m,) at 16 kHz, m = ceil(n * 16000 / rate), as librosa.load."""
    if not samples.shape[-1]:
        behind = f": nothing left from second {start:g}" if start else ""
        raise source.fail(f"empty audio (no samples{behind})")
    mono = np.mean(samples, axis=0) if samples.ndim > 1 else samples
    if not np.isfinite(mono).all():
        raise source.fail("corrupt audio (samples that are not finite)")
    check_rate(source, rate)
    if rate == SAMPLE_RATE:
        return np.asarray(mono, dtype=np.float32)
    import soxr

    wanted = math.ceil(mono.shape[0] * (float(SAMPLE_RATE) / rate))
    resampled = soxr.resample(mono, rate, SAMPLE_RATE, quality="soxr_hq")[:wanted]
    return np.pad(resampled, (0, wanted - resampled.shape[0])).astype(np.float32)


def check_rate(source: Source, rate: int) -> None:
    """Raises OmniError for an implausible sampling rate."""
    if not RATES[0] <= rate <= RATES[1]:
        raise source.fail(f"a sampling rate of {rate} Hz; expected {RATES[0]} to {RATES[1]}")


def _decode(source: Source, start: float, end: float | None) -> tuple[np.ndarray, int]:
    """(samples (n,) or (channels, n) float32, rate): libsndfile first, FFmpeg for what it cannot read."""
    import soundfile

    file = sound_file(source)
    if file is None:
        return _decode_with_av(source, start, end)
    with file:
        try:
            return _read_range(file, source, start, end), file.samplerate
        except soundfile.LibsndfileError:
            return _decode_with_av(source, start, end)


def sound_file(source: Source) -> Any:
    """soundfile.SoundFile of the medium, or None where FFmpeg has to read it: libsndfile does not know the format, or
    the file does not state its length (FLAC written to a pipe). Raises OmniError for a truncated file."""
    import soundfile

    check_whole(source)
    if source.access.restricted and not _is_usual(source.head(12)):
        return None
    try:
        file = soundfile.SoundFile(source.open())
    except soundfile.LibsndfileError:
        return None
    if file.frames < _UNKNOWN_FRAMES:
        return file
    file.close()
    return None


def _is_usual(head: bytes) -> bool:
    """Whether the file begins like one of the common formats of libsndfile's thirty: WAV, FLAC, Ogg, AIFF, AU, CAF,
    MP3."""
    return head.startswith(_USUAL) or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")


def _read_range(file: Any, source: Source, start: float, end: float | None) -> np.ndarray:
    """Cut as librosa does with soundfile: offset and duration are each truncated to whole frames."""
    first = int(start * file.samplerate)
    if first > file.frames:
        raise source.fail(f"starts at second {start:g}, but it lasts only {file.frames / file.samplerate:g} s")
    wanted = -1 if end is None else int((end - start) * file.samplerate)
    left = file.frames - first
    check_sound(source, file.samplerate, file.channels, left if wanted < 0 else min(wanted, left))
    if first:
        file.seek(first)
    return file.read(frames=wanted, dtype="float32", always_2d=False).T


def _decode_with_av(source: Source, start: float, end: float | None) -> tuple[np.ndarray, int]:
    """Cut as librosa does with audioread: the duration counts from the truncated start."""
    samples, rate = decode_audio_track(source)
    first = int(rate * start)
    last = None if end is None else first + int(rate * (end - start))
    return samples[..., first:last], rate


def _from_array(array: np.ndarray, start: float, end: float | None) -> np.ndarray:
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.floating):
        raise OmniError(
            f"audio array: expected mono floating samples at {SAMPLE_RATE} Hz, got {array.dtype} {array.shape}"
        )
    last = None if end is None else int(SAMPLE_RATE * end)
    return finish_audio(array[int(SAMPLE_RATE * start) : last], SAMPLE_RATE, Source("audio array"), start)
