"""Synthetic media are what their names say, and the same every time."""

import numpy as np
import pytest
from PIL import Image

from ms_omni.inputs.audio import SAMPLE_RATE, read_audio, read_video_audio
from ms_omni.inputs.source import open_source
from ms_omni.inputs.video_frames import decode_frames, probe
from ms_omni.profiling.synthetic_media import MediaMaker


def test_picture(tmp_path):
    path, what = MediaMaker(tmp_path).image(120, 80)
    picture = Image.open(path)
    assert (picture.size, picture.mode) == ((120, 80), "RGB")
    assert what == "synthetic picture 120x80"
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 1000


@pytest.mark.parametrize("seconds", [0.5, 1, 2.25])
def test_sound_lasts_as_long_as_asked_and_sounds_all_the_time(tmp_path, seconds):
    path, what = MediaMaker(tmp_path).audio(seconds)
    samples = read_audio(path)
    assert samples.shape == (round(seconds * SAMPLE_RATE),)
    pieces = samples[: len(samples) // 10 * 10].reshape(10, -1)
    assert (np.sqrt((pieces**2).mean(axis=1)) > 0.1).all()
    assert what == f"synthetic sound {seconds:g} s"


def test_sound_has_no_seam_between_blocks(tmp_path):
    samples = read_audio(MediaMaker(tmp_path).audio(3)[0])
    inside = np.abs(np.diff(samples))
    assert inside[[SAMPLE_RATE - 1, 2 * SAMPLE_RATE - 1]].max() < inside.max()


@pytest.mark.parametrize(("seconds", "fps", "frames"), [(2, 4, 8), (1.5, 10, 15)])
def test_video_has_its_frames_and_its_sound(tmp_path, seconds, fps, frames):
    path, _ = MediaMaker(tmp_path).video(seconds, (64, 48), fps)
    source = open_source(path, "video")
    assert probe(source) == (frames, fps)
    first, last = decode_frames(source, [0, frames - 1], frames, lambda frame: frame)
    assert first.shape == (3, 48, 64) and np.abs(first.astype(int) - last).mean() > 5  # it moves
    # AAC works in blocks of 1024 samples
    assert abs(len(read_video_audio(path)) - seconds * SAMPLE_RATE) < 2 * 1024


def test_the_same_twice_and_made_once(tmp_path):
    made = [MediaMaker(tmp_path / name) for name in ("a", "b")]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, two = (maker.audio(1)[0] for maker in made)
    assert one != two
    assert (tmp_path / "a" / "sound-1s.wav").read_bytes() == (tmp_path / "b" / "sound-1s.wav").read_bytes()
    (tmp_path / "a" / "sound-1s.wav").write_bytes(b"kept")
    made[0].audio(1)
    assert (tmp_path / "a" / "sound-1s.wav").read_bytes() == b"kept"
