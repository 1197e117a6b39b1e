"""A request's own rules: where an answer ends, which text a frame gets, of how many frames a piece is."""

from dataclasses import replace
from weakref import ref

import numpy as np
import pytest
from fake_executor import CODEC_END, decode, request, state_of

from ms_omni.outputs import AudioChunk, TextDelta
from ms_omni.scheduling.request import RequestHandle
from ms_omni.scheduling.sequence import Sequence, random_numbers
from ms_omni.scheduling.state import RequestState


def sequence(maximum, stop_ids=()):
    return Sequence("thinker", 10, maximum, stop_ids, random_numbers(7, "thinker"))


def test_random_numbers_are_those_of_today_and_do_not_depend_on_the_steps_of_a_call():
    """As runtime.sampling.UniformStream(7, 0) and (7, 1) draw them."""
    expected = np.float32([0.14017415, 0.0483737, 0.8932049, 0.82241666, 0.75085014])
    one, several = sequence(9), sequence(9)
    np.testing.assert_allclose([one.draw(1)[0] for _ in range(5)], expected, rtol=1e-6)
    np.testing.assert_array_equal(
        np.concatenate([several.draw(1), several.draw(4)]), random_numbers(7, "thinker").random(5, dtype=np.float32)
    )
    talker = random_numbers(7, "talker").random(3, dtype=np.float32)
    np.testing.assert_allclose(talker, [0.19531125, 0.27499622, 0.00854558], rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "taken", "reason"),
    [([1, 2], [1, 2], None), ([1, 2, 3, 4, 5], [1, 2, 3, 4], "length"), ([1, 9, 3], [1, 9], "stop"),
     ([1, 2, 3, 9], [1, 2, 3, 9], "stop")],
)  # fmt: skip
def test_a_sequence_ends_with_its_stop_token_or_at_its_maximum(given, taken, reason):
    tokens = sequence(maximum=4, stop_ids=(9,))
    assert tokens.extend(given) == taken and tokens.finish_reason == reason
    assert tokens.num_read == len(taken) - (reason is not None)
    assert tokens.position == 10 + len(taken) - 1
    assert tokens.extend([5]) == ([] if reason else [5])


def test_ignore_eos_goes_on_to_the_maximum():
    asked = request(new=3, frames=2, stop_ids=(9,))
    state, _ = state_of(replace(asked, sampling=replace(asked.sampling, ignore_eos=True)))
    state.add_tokens([9, 9, 9])
    assert state.thinker.finish_reason == "length" and state.talker.stop_ids == ()


def test_frames_wait_for_their_text_and_then_get_the_end_and_pads():
    state, _ = state_of(request(new=9, frames=6, stop_ids=(40,)))
    state.thinker.num_computed = state.thinker.num_prompt
    state.add_tokens([10])
    assert state.to_prefill is state.talker and not state.can_make_frame
    state.talker.num_computed = state.talker.num_prompt
    assert state.to_prefill is None and not state.can_make_frame  # the text of the first frame is the second token
    texts = []

    def speak():
        while state.can_make_frame:
            texts.append(state.text_of_frame(-1, -2))
            state.add_frames(np.zeros((3, 1), int))
            state.add_codec_tokens([1])

    state.add_codec_tokens([1])
    state.add_tokens([11, 12])
    speak()
    assert texts == [11, 12]
    state.add_tokens([13, 40])  # what ends the text is not read
    speak()
    assert texts == [11, 12, 13, -1, -2, -2] and state.talker.finish_reason == "length"


def test_not_a_word_is_silence():
    state, handle = state_of(request(frames=6, stop_ids=(40,)))
    state.thinker.num_computed = state.thinker.num_prompt
    state.add_tokens([40])
    assert state.is_finished and state.to_prefill is None
    state.finish()
    audio = handle.result(0).audio
    assert audio.finish_reason == "stop" and audio.codes.shape == (3, 0) and audio.samples.shape == (0,)


def test_pieces_of_the_wave_grow_to_the_size_asked_for():
    """For a listener who has heard nothing yet, by as much as there is."""
    state, handle = state_of(request(new=1, frames=20, chunks=(2, 5)))
    state.add_tokens([1])
    state.talker.finish_reason = None  # as if there were a text to speak
    sizes = []
    for frame in range(15):
        if frame == 14:
            state.add_codec_tokens([CODEC_END])  # the rest is due
        else:
            state.add_frames(np.full((3, 1), frame))
        while count := state.num_due:
            codes = state.next_codes(count)
            assert codes.shape == (3, count) and codes.dtype == np.int32
            sizes.append((count, int(codes[0, 0])))
            state.add_wave(np.zeros(1920 * count, np.float32), count)
    assert sizes == [(2, 0), (2, 2), (4, 4), (5, 8), (1, 13)] and state.is_finished
    state.finish()
    kinds = [type(chunk) for chunk in handle]
    assert kinds.count(AudioChunk) == 5 and kinds[0] is TextDelta


def test_a_piece_is_made_before_the_one_before_has_been_played():
    """Frames come in the time in which they are played, or in a tenth of it."""
    for seconds, expected in ((0.08, [4, 4, 4, 4, 4]), (0.008, [4, 4, 7, 13, 24])):
        now, sizes, gaps = [0.0], [], 0
        asked = request(new=1, frames=200, chunks=(4, 25))
        handle = RequestHandle()
        state = RequestState(asked, asked.prepare(), ref(handle), decode, lambda now=now: now[0])
        state.add_tokens([1])
        state.talker.finish_reason = None
        played_until = None
        while len(sizes) < 5:
            now[0] += seconds
            state.add_frames(np.zeros((3, 1)))
            if count := state.num_due:
                gaps += played_until is not None and now[0] > played_until + 1e-6
                played_until = (now[0] if played_until is None else played_until) + count * 0.08
                sizes.append(count)
                state.add_wave(np.zeros(1920 * count, np.float32), count)
        assert sizes == expected and not gaps


@pytest.mark.parametrize(("stops", "read", "text"), [(("M",), 2, "KL"), (("MN", "zz"), 3, "KL")])
def test_a_text_that_ends_the_answer_ends_it_at_its_last_token(stops, read, text):
    state, handle = state_of(replace(request(new=9, frames=6), stop_texts=stops))
    state.thinker.num_computed = state.thinker.num_prompt
    state.add_tokens([10, 11, 12, 13, 14])
    assert state.thinker.token_ids == list(range(10, 10 + read + 1)) and state.thinker.finish_reason == "stop"
    assert state.thinker.num_read == read  # the Talker does not say the token that ends the text
    state.add_tokens([15])
    state.talker.finish_reason = "stop"
    state.finish()
    assert handle.result().text == text
