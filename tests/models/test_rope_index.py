"""Positions of prompts, against positions worked out by hand from transformers' rules."""

import numpy as np
import pytest

from ms_omni.models.rope_index import RopeTokens, rope_index

AUDIO, IMAGE, VIDEO, VISION_START, VISION_END, AUDIO_START, AUDIO_END, TEXT = 1, 2, 3, 4, 5, 6, 7, 9
TOKENS = RopeTokens(AUDIO, IMAGE, VIDEO, VISION_START, AUDIO_START, 13, 2)


def positions(ids, **media):
    got, delta = rope_index(np.array(ids), TOKENS, **media)
    assert got.dtype == np.float32
    return got.tolist(), delta


def test_text_and_audio_count_up():
    got, delta = positions([TEXT, AUDIO_START, *[AUDIO] * 13, AUDIO_END, TEXT], audio_mel_lengths=np.array([100]))
    assert got == [list(range(17))] * 3 and delta == 0


def test_picture_is_a_plane_and_text_goes_on_after_its_longer_side():
    ids = [TEXT, VISION_START, *[IMAGE] * 6, VISION_END, TEXT]
    got, delta = positions(ids, image_grid_thw=np.array([[1, 4, 6]]))
    assert got == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5, 6],
        [0, 1, 2, 2, 2, 3, 3, 3, 5, 6],
        [0, 1, 2, 3, 4, 2, 3, 4, 5, 6],
    ]
    assert delta == 7 - 10


def test_video_advances_by_thirteenths_of_a_second():
    ids = [VISION_START, *[VIDEO] * 2, VISION_END]
    got, delta = positions(ids, video_grid_thw=np.array([[2, 2, 2]]), seconds_per_grid=np.array([2 / 3]))
    np.testing.assert_allclose(got[0], [0, 1, 1 + 26 / 3, 2 + 26 / 3], rtol=1e-6)
    assert got[1] == got[2] == [0, 1, 1, got[0][3]]
    assert delta == pytest.approx(3 + 26 / 3 - 4)


AUDIO_IN_VIDEO = [VISION_START, AUDIO_START, VIDEO, *[AUDIO] * 13, VIDEO, *[AUDIO] * 7, AUDIO_END, VISION_END, TEXT]
SOUND = {"video_grid_thw": np.array([[2, 2, 2]]), "seconds_per_grid": np.array([1.0]), "audio_mel_lengths": [150]}


def test_sound_interleaves_with_its_video():
    got, delta = positions(AUDIO_IN_VIDEO, use_audio_in_video=True, **SOUND)
    assert got[0][:4] == [0, 1, 2, 2] and got[0][15:18] == [14, 15, 15]
    # 13 audio tokens (positions 2..14), the second frame at 2 + 13, then audio goes on at 15..21, then the end marks
    assert got[0][16:] == [15, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24][: len(got[0]) - 16]
    assert got[1][16] == 2 and delta == 25 - len(AUDIO_IN_VIDEO)


def test_talker_is_not_told_of_the_sound_and_counts_up():
    got, delta = positions(AUDIO_IN_VIDEO, use_audio_in_video=False, **SOUND)
    assert got == [list(range(len(AUDIO_IN_VIDEO)))] * 3 and delta == 0


def test_talker_sees_the_video_while_a_picture_is_to_come():
    ids = [*AUDIO_IN_VIDEO, VISION_START, IMAGE, VISION_END]
    told, _ = positions(ids, use_audio_in_video=True, image_grid_thw=np.array([[1, 2, 2]]), **SOUND)
    untold, _ = positions(ids, use_audio_in_video=False, image_grid_thw=np.array([[1, 2, 2]]), **SOUND)
    assert told == untold


def test_marker_without_its_medium_is_text():
    got, _ = positions([VISION_START, TEXT, AUDIO_START], image_grid_thw=np.zeros((0, 3), int))
    assert got == [[0, 1, 2]] * 3


def test_media_that_do_not_fit_the_prompt_are_refused():
    with pytest.raises(ValueError, match="the media describe"):
        positions([VISION_START, IMAGE, VISION_END], image_grid_thw=np.array([[1, 4, 4]]))
