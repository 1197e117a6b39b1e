"""Speech in segments: nothing is lost, nothing is added between them, and the wave has every sample."""

import wave
from io import BytesIO

import av
import numpy as np
import pytest
from stand_in import TONE

from ms_omni.demo.speech import AacSegments, write_wave


@pytest.mark.parametrize("size", [960, 3841, 48000])
def test_segments_are_one_stream_without_gaps(size):
    aac = AacSegments()
    segments = [aac.put(TONE[place : place + size]) for place in range(0, len(TONE), size)]
    known = [segment for segment in [*segments, aac.end()] if segment]
    seconds = sum(length for _, length in known)
    with av.open(BytesIO(b"".join(data for data, _ in known))) as file:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    assert heard.size == round(seconds * 24000) and 1.0 <= seconds < 1.1
    sent = np.frombuffer(TONE, "<i2") / 32768
    loud = np.sqrt(np.convolve(heard[2048:23000] ** 2, np.ones(256) / 256, "valid"))
    assert loud.min() > 0.8 * np.sqrt(np.mean(sent**2))  # a gap would be silent


def test_no_speech_is_no_segment():
    aac = AacSegments()
    assert aac.put(b"") is None and aac.end() is None


def test_the_wave_has_every_sample(tmp_path):
    write_wave(tmp_path / "a.wav", TONE)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
        assert file.readframes(10**6) == TONE
