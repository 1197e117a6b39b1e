"""Speech in segments: nothing is lost, nothing is added between them, and the wave has every sample."""

import wave
from io import BytesIO

import av
import numpy as np
import pytest
from stand_in import TONE

from ms_omni.demo.speech import SEGMENT_S, AacSegments, seconds_of, write_wave

LONG = 3 * TONE


@pytest.mark.parametrize("size", [960, 3841, 48000])
def test_segments_are_one_stream_without_gaps(size):
    aac = AacSegments()
    segments = [aac.put(LONG[place : place + size]) for place in range(0, len(LONG), size)] + [aac.end()]
    assert all(seconds_of(segment) >= SEGMENT_S for segment in segments[:-1] if segment)
    seconds = sum(seconds_of(segment) for segment in segments)
    with av.open(BytesIO(b"".join(segments))) as file:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    assert heard.size == round(seconds * 24000) and 3.0 <= seconds < 3.1
    sent = np.frombuffer(TONE, "<i2") / 32768
    loud = np.sqrt(np.convolve(heard[2048:71000] ** 2, np.ones(256) / 256, "valid"))
    assert loud.min() > 0.8 * np.sqrt(np.mean(sent**2))  # a gap would be silent


def test_no_speech_is_no_segment():
    aac = AacSegments()
    assert aac.put(b"") == b"" == aac.end() and seconds_of(b"") == 0


def test_the_wave_has_every_sample(tmp_path):
    write_wave(tmp_path / "a.wav", TONE)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
        assert file.readframes(10**6) == TONE
