"""Speech as bytes, in the formats of OpenAI's API."""

from __future__ import annotations

from io import BytesIO

import numpy as np

from ms_omni.server.schema import AudioFormat

# libsndfile's names
_FILES = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", None), "opus": ("OGG", "OPUS")}


def pcm16(samples: np.ndarray) -> bytes:
    """float32 (num_samples,) in [-1, 1] as little-endian integers of 16 bits."""
    return np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()


def encoded(samples: np.ndarray, sample_rate: int, audio_format: AudioFormat) -> bytes:
    """The same wave, mono, as a file of this format; pcm16 is bare samples."""
    if audio_format == "pcm16":
        return pcm16(samples)
    import soundfile

    kind, subtype = _FILES[audio_format]
    if not samples.size:  # some of libsndfile's encoders write nothing for nothing
        samples = np.zeros(1, np.float32)
    file = BytesIO()
    soundfile.write(file, samples, sample_rate, format=kind, subtype=subtype)
    return file.getvalue()
