"""Log-mel spectrograms of sound of any length: mindone's, a bounded number of frames at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

# A frame is 10 ms. All at once, the 240,000 of 40 minutes would be 800 MB of complex and float64 intermediates.
FRAMES_AT_ONCE = 8192


def log_mel(waveform: np.ndarray, settings: Any) -> np.ndarray:
    """float32 (samples,) -> float32 (mel bins, samples // hop_length), as the whole at once gives it.

    settings: an object with the fields of WhisperFeatureExtractor (n_fft, hop_length, mel_filters, dither). Source:
    transformers 4.57.1 `WhisperFeatureExtractor._np_extract_fbank_features`."""
    from mindone.transformers.audio_utils import spectrogram, window_function

    half, hop = settings.n_fft // 2, settings.hop_length
    padded = np.pad(waveform, half, mode="reflect")
    count = len(waveform) // hop  # the last frame is dropped
    out = np.empty((len(settings.mel_filters[0]), count), np.float32)
    for start in range(0, count, FRAMES_AT_ONCE):
        end = min(start + FRAMES_AT_ONCE, count)
        out[:, start:end] = spectrogram(
            padded[start * hop : (end - 1) * hop + settings.n_fft],
            window_function(settings.n_fft, "hann"),
            frame_length=settings.n_fft,
            hop_length=hop,
            power=2.0,
            center=False,
            dither=settings.dither,
            mel_filters=settings.mel_filters,
            log_mel="log10",
        )
    np.maximum(out, out.max() - np.float32(8.0), out=out)
    out += np.float32(4.0)
    out /= np.float32(4.0)
    return out
