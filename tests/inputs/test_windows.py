"""Recordings read piece by piece and cut into windows."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ms_omni.errors import OmniError
from ms_omni.inputs.audio import _decode, finish_audio, read_audio
from ms_omni.inputs.sound_pieces import RecordingTooLong, read_pieces
from ms_omni.inputs.source import Source, open_source
from ms_omni.inputs.windows import Window, WindowRules, cut_windows

RATE = 16_000
# Of Debian's pocketsphinx-testdata: LibriVox sentences, and cards by name
RECORDED = sorted(Path("/usr/share/pocketsphinx/test/data").glob("[cl]*/*.wav"))
KINDS = [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]


def noise(seconds, level=0.1, seed=0):
    return (np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * level).astype(np.float32)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.float32)


def encoded(samples, rate, kind="WAV", subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def windows_of(samples, rules=None, piece=RATE):
    """Cut from pieces of this size, each window being what it says of the recording."""
    windows = list(cut_windows((samples[i : i + piece] for i in range(0, len(samples), piece)), rules))
    for window in windows:
        start, end = round(window.span.start * RATE), round(window.span.end * RATE)
        np.testing.assert_array_equal(window.samples, samples[start:end])
    for one, other in zip(spans_of(windows), spans_of(windows)[1:], strict=False):
        assert other.overlap == pytest.approx(max(0, one.end - other.start), abs=1e-9)
        assert one.overlap_behind >= other.overlap - 1e-9
        assert one.start < other.start and one.end < other.end
    if windows:
        assert windows[0].span.overlap == windows[-1].span.overlap_behind == 0
    return windows


def spans_of(windows):
    return [window.span for window in windows]


def heard_of(samples, windows):
    """Which samples belong to some window."""
    heard = np.zeros(len(samples), bool)
    for span in spans_of(windows):
        heard[round(span.start * RATE) : round(span.end * RATE)] = True
    return heard


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [48_000, 16_000, 8_000])
def test_pieces_are_the_whole(tmp_path, kind, rate):
    path = tmp_path / "sound"
    path.write_bytes(encoded(noise(5).reshape(-1, 2), rate, *kind))
    pieces = list(read_pieces(open_source(str(path), "audio")))
    np.testing.assert_allclose(np.concatenate(pieces), read_audio(str(path)), rtol=0, atol=2e-7)
    assert len(pieces) > 1


def test_a_film_is_read_by_its_sound(tmp_path):
    path = "tests/tiny/media/audio_in_video_2_s_9_1.mp4"
    pieces = list(read_pieces(open_source(path, "audio")))
    np.testing.assert_array_equal(np.concatenate(pieces), read_audio(path))


def test_flac_that_does_not_state_its_length():
    data = bytearray(encoded(noise(3), RATE, "FLAC"))
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])  # STREAMINFO's total samples: unknown
    source = Source("audio x", data=bytes(data))
    assert sum(piece.size for piece in read_pieces(source, 4)) == 3 * RATE
    with pytest.raises(RecordingTooLong, match="longer than 2 s"):
        list(read_pieces(source, 2))


def test_a_header_that_states_too_much_is_refused_before_anything_is_read():
    source = Source("audio x", data=encoded(silence(3), RATE))
    with pytest.raises(RecordingTooLong, match="audio x: lasts longer than 2 s"):
        next(read_pieces(source, 2))


@pytest.mark.parametrize(
    "data, words",
    [
        (encoded(silence(0), RATE), "no samples"),
        (encoded(noise(2), RATE)[:-100], "truncated"),
        (encoded(noise(2), RATE, "FLAC")[:-5000], "truncated or corrupt"),
        (b"no sound at all" * 100, "corrupt"),
        (encoded(noise(0.1), 999), "999 Hz"),
        (encoded(noise(0.1), 2**31 - 1), "2147483647 Hz"),
        (encoded(np.full(100, np.nan, np.float32), RATE, subtype="FLOAT"), "not finite"),
    ],
)
def test_what_is_no_recording(data, words):
    source = Source("audio x", data=data)
    with pytest.raises(OmniError, match=f"audio x: .*{words}"):
        list(read_pieces(source))
    with pytest.raises(OmniError, match=f"audio x: .*(corrupt|{words})"):
        finish_audio(*_decode(source, 0.0, None), source)


def test_memory_does_not_grow_with_the_recording():
    def peak(seconds):
        source = Source("audio x", data=encoded(silence(seconds), RATE, "FLAC"))
        tracemalloc.start()
        for _ in cut_windows(read_pieces(source)):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(1200) < 1.2 * peak(120)


def test_what_is_short_is_one_window():
    samples = noise(29.9)
    (window,) = windows_of(samples)
    assert (window.span.start, window.span.end) == (0, pytest.approx(29.9))


def test_what_is_short_is_heard_whole():
    samples = np.concatenate([silence(1.9), noise(1), silence(1.9)])
    (window,) = windows_of(samples)
    assert len(window.samples) == len(samples)
    (window,) = windows_of(np.concatenate([silence(2.1), noise(1), silence(2.1)]))
    assert (window.span.start, window.span.end) == pytest.approx((1.85, 3.35), abs=0.03)


def test_windows_without_pauses_overlap():
    samples = noise(100)
    windows = windows_of(samples)
    assert heard_of(samples, windows).all() and len(windows) > 3
    for span in spans_of(windows)[1:]:
        assert span.overlap == 3
    assert all(20 <= len(window.samples) / RATE <= 30 for window in windows[:-1])
    assert all(len(window.samples) / RATE >= 3.5 for window in windows)


def test_a_cut_is_in_the_pause():
    """Of half a second, 34 dB below the rest, which is loud enough to be no silence: both windows end there."""
    samples = noise(60)
    samples[24 * RATE : 24 * RATE + RATE // 2] *= 0.02
    first, second, *_ = spans_of(windows_of(samples))
    assert 24 < first.end < 24.5 and first.end == second.start
    assert first.overlap_behind == second.overlap == 0


def test_windows_overlap_around_what_is_quiet_and_no_pause():
    """Half a second 10 dB below the rest, and half a second with a frame 20 dB below it in its middle."""
    soft, split = noise(60), noise(60)
    soft[24 * RATE : 24 * RATE + RATE // 2] *= 0.3
    split[24 * RATE : 24 * RATE + RATE // 2] *= 0.01
    split[round(24.24 * RATE) : round(24.26 * RATE)] *= 10
    for samples in (soft, split):
        first, second, *_ = spans_of(windows_of(samples))
        assert first.overlap_behind == second.overlap == 3
        assert 23.5 < (second.start + first.end) / 2 < 25


def test_where_nothing_is_said_in_what_would_overlap():
    """Behind the first window comes silence: the next one begins with its own sound."""
    samples = np.concatenate([noise(25), 0.3 * noise(0.4), noise(3.6), silence(20), noise(5)])
    windows = windows_of(samples)
    assert np.abs(samples[~heard_of(samples, windows)]).max(initial=0) <= 0.001


def test_the_size_of_the_pieces_does_not_matter():
    samples = np.concatenate([noise(7), silence(3), noise(61, seed=1), silence(50), noise(0.3), silence(1)])
    spans = [spans_of(windows_of(samples, piece=size)) for size in (997, RATE, 40 * RATE)]
    assert spans[0] == spans[1] == spans[2]


def test_silence_ends_a_window_and_belongs_to_none():
    samples = np.concatenate([silence(100), noise(1), silence(5), noise(2), silence(1.5), noise(1), silence(70)])
    spans = [(span.start, span.end) for span in spans_of(windows_of(samples))]
    assert spans == [pytest.approx((99.75, 101.25), abs=0.03), pytest.approx((105.75, 110.75), abs=0.03)]


@pytest.mark.parametrize("seconds", [29.9, 30, 59.9, 100])
def test_a_window_begins_before_its_sound(seconds):
    (window,) = windows_of(np.concatenate([silence(seconds), noise(1)]))
    assert window.span.start == pytest.approx(seconds - 0.25, abs=0.03)


def test_a_recording_without_sound_has_no_window():
    assert windows_of(silence(95)) == []
    assert windows_of(np.full(95 * RATE, 0.0009, np.float32)) == []  # below -60 dB of full scale
    assert len(windows_of(np.full(95 * RATE, 0.0011, np.float32))) == 4


@pytest.mark.parametrize("click", [0, 3, 29.9, 30, 59.99])
def test_a_click_has_a_window_that_can_be_heard(click):
    samples = silence(60)
    samples[round(click * RATE)] = 0.5
    (window,) = windows_of(samples)
    assert window.span.start <= click < window.span.end
    assert len(window.samples) > 200  # half a window of the spectrogram, which is mirrored


def test_random_recordings_lose_no_sound():
    random = np.random.default_rng(3)
    for _ in range(30):
        parts = [part(random.uniform(0.01, 40)) for part in random.choice([noise, silence], random.integers(1, 8))]
        samples = np.concatenate(parts)
        windows = windows_of(samples, piece=int(random.integers(100, 100_000)))
        assert all(len(window.samples) <= 30 * RATE for window in windows)
        assert not np.abs(samples[~heard_of(samples, windows)]).max(initial=0) > 0.001


@pytest.mark.skipif(not RECORDED, reason="Debian's pocketsphinx-testdata is not installed")
@pytest.mark.parametrize("gap", [0.0, 0.4, 3.0])
def test_recorded_speech_is_heard_whole(gap):
    """Read sentences and names of cards, three minutes one after the other, in any order."""
    random = np.random.default_rng(round(10 * gap))
    clips = [read_audio(str(path)) for path in RECORDED]
    samples = np.concatenate([part for i in random.integers(0, len(clips), 50) for part in (clips[i], silence(gap))])
    windows = windows_of(samples, piece=int(random.integers(1000, 50_000)))
    assert all(len(window.samples) <= 30 * RATE for window in windows) and len(windows) > 5
    assert np.abs(samples[~heard_of(samples, windows)]).max(initial=0) <= 0.001


@pytest.mark.parametrize(
    "rules",
    [
        {"longest_s": 20.0},
        {"silence_s": 0.5},
        {"silence_s": 31.0},
        {"shortest_s": 0.0},
        {"overlap_s": 14.0},
        {"overlap_s": 0.0},
    ],
)
def test_rules_that_cut_nothing(rules):
    with pytest.raises(ValueError, match="no windows"):
        WindowRules(**rules)


def test_other_rules():
    rules = WindowRules(longest_s=5.0, shortest_s=2.0, silence_s=1.0, margin_s=0.1, overlap_s=1.0)
    samples = np.concatenate([noise(12), silence(1.1), noise(1)])
    windows = windows_of(samples, rules)
    assert isinstance(windows[0], Window) and all(span.end - span.start <= 5 for span in spans_of(windows))
    assert windows[-1].span.start == pytest.approx(13.0, abs=0.03)
