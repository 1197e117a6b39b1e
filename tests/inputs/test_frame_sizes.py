"""The size that frames get, by hand: areas count in squares of 28 x 28 pixels."""

import numpy as np
import pytest

from ms_omni.inputs.video import fetch_video


def squares(rows, columns, frames=2, **options):
    """How many squares of 28 x 28 a frame of rows x columns squares becomes."""
    array = np.zeros((frames, 3, rows * 28, columns * 28), np.uint8)
    video, _, _ = fetch_video({"video": array, **options})
    return video.shape[2] // 28, video.shape[3] // 28


def test_the_default_bounds_are_128_and_768_squares():
    assert squares(8, 16) == (8, 16)
    assert squares(6, 8) == (10, 14)  # 6 * sqrt(128/48) = 9.8 and 8 * sqrt(128/48) = 13.06, rounded up
    assert squares(24, 32) == (24, 32)
    assert squares(48, 64) == (24, 32)


def test_the_upper_bound_is_never_below_105_percent_of_the_lower():
    assert squares(10, 13, total_pixels=1) == (10, 13)  # 130 squares: above 128, below 134.4
    assert squares(10, 14, total_pixels=1) == (9, 13)  # 10 * sqrt(134.4/140) = 9.8, rounded down


@pytest.mark.parametrize("frames,expected", [(4, (20, 20)), (8, (14, 14))])
def test_all_frames_share_the_total_two_by_two(frames, expected):
    total = 400 * 2 * 28 * 28
    assert squares(24, 24, frames, total_pixels=total) == expected  # 400 squares for 4 frames, 200 for 8


def test_the_default_total_is_nine_tenths_of_the_context(monkeypatch):
    monkeypatch.setenv("MODEL_SEQ_LEN", "1000")
    assert squares(24, 24, 6) == (17, 17)  # 900 squares * 2 / 6 = 300


def test_max_pixels_above_the_bound_does_not_raise_it():
    assert squares(48, 64, max_pixels=10**9) == (24, 32)
    assert squares(24, 32, max_pixels=192 * 28 * 28) == (12, 16)
