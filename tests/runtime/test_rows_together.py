"""Conversations that are answered together get the answers that they get alone."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ms_omni import AudioChunk, SamplingParams
from ms_omni.runtime.device_state import DeviceState

sys.path.insert(0, str(Path(__file__).parents[1] / "reference"))
from reference_cases import CASES, located

GREEDY = SamplingParams(
    thinker_max_new_tokens=11, talker_max_new_tokens=9, thinker_temperature=0.0, talker_temperature=0.0
)
HOT = replace(GREEDY, thinker_temperature=0.9, thinker_top_k=30, thinker_top_p=0.9, talker_temperature=0.8)
# A case, its settings, and whether it is spoken. Lengths differ, so that rows come and go.
ASKED = [
    ("text", replace(GREEDY, thinker_max_new_tokens=4, talker_max_new_tokens=15), True),
    ("image", replace(HOT, seed=3), True),
    ("audio_two_in_one_turn", replace(HOT, thinker_top_k=0, thinker_top_p=1.0, seed=4), True),
    ("video_with_sound", GREEDY, True),
    ("no_speech", replace(GREEDY, thinker_max_new_tokens=17, thinker_repetition_penalty=2.0), False),
    ("several_turns", replace(HOT, seed=5), False),
    ("text_plain_string", replace(GREEDY, ignore_eos=True), True),
    (
        "system_prompt",
        replace(HOT, thinker_repetition_penalty=1.2, talker_repetition_penalty=1.3, ignore_eos=True, seed=7),
        True,
    ),
]


def submit(engine, name, sampling, speak):
    case = next(case for case in CASES if case.name == name and case.checkpoint == "tiny")
    return engine.submit(
        located(case.conversation),
        return_audio=speak,
        use_audio_in_video=case.use_audio_in_video,
        sampling=sampling,
        first_chunk_frames=2,
        chunk_frames=3,
    )


def assert_equal(made, expected):
    assert made.token_ids == expected.token_ids and made.finish_reason == expected.finish_reason
    if expected.audio is None:
        assert made.audio is None
        return
    np.testing.assert_array_equal(made.audio.codes, expected.audio.codes)
    assert made.audio.finish_reason == expected.audio.finish_reason
    np.testing.assert_allclose(made.audio.samples, expected.audio.samples, atol=1e-4)


@pytest.fixture(scope="module")
def alone(fused):
    return [submit(fused, *each).result(300) for each in ASKED]


@pytest.fixture
def rows(fused, monkeypatch):
    """Numbers of conversations that were spoken together."""
    talker, rows = fused.executor.talker, set()
    decode = talker.decode
    monkeypatch.setattr(talker, "decode", lambda states: rows.add(len(states)) or decode(states))
    return rows


def test_each_has_the_answer_that_it_has_alone(fused, alone, rows):
    handles = [submit(fused, *each) for each in ASKED]
    for handle, expected in zip(handles, alone, strict=True):
        assert_equal(handle.result(300), expected)
    assert max(rows) > 2


def test_so_has_each_of_those_that_come_one_after_the_other(fused, alone, rows, monkeypatch):
    """The next one when another two steps of the Thinker or the Talker are done, and its media are read."""
    left, handles, num_steps = list(ASKED[::-1]), [], 0

    def then_another(decode):
        def decoded(states, *more):
            nonlocal num_steps
            decode(states, *more)
            num_steps += 1
            if left and num_steps % 2 == 0:
                handles.append(submit(fused, *left.pop(0)))
                until(lambda: fused._loop._prepared)

        return decoded

    for name in ("decode_thinker", "decode_talker"):
        monkeypatch.setattr(fused.executor, name, then_another(getattr(fused.executor, name)))
    handles.append(submit(fused, *left.pop(0)))
    for number, expected in enumerate(alone[::-1]):
        until(lambda: len(handles) > number)
        assert_equal(handles[number].result(300), expected)
    assert max(rows) > 2


def until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_more_conversations_than_rows_of_the_smaller_buckets(fused):
    """Eleven are rows of 16, of which five are nobody's."""
    settings = [replace(HOT, thinker_max_new_tokens=6 + i, talker_max_new_tokens=4, seed=i) for i in range(11)]
    expected = [fused.generate("Hello", sampling=each) for each in settings]
    handles = [fused.submit("Hello", sampling=each) for each in settings]
    for handle, right in zip(handles, expected, strict=True):
        assert_equal(handle.result(300), right)
    assert len({out.token_ids for out in expected}) > 5


def test_a_long_answer_with_others_that_come_and_go(fused):
    """Its frames are rows of calls of many sizes, and its pieces join."""
    long = SamplingParams(thinker_max_new_tokens=60, talker_max_new_tokens=50, seed=11, ignore_eos=True)
    expected = fused.generate("Tell me a story.", sampling=long)
    handle = fused.submit("Tell me a story.", sampling=long, first_chunk_frames=3, chunk_frames=8)
    pieces = []
    for chunk in handle:
        if isinstance(chunk, AudioChunk):
            pieces.append(chunk.samples)
            fused.submit("Hello", sampling=replace(HOT, seed=len(pieces)))  # dropped, and so cancelled
            others = [fused.submit("Hello you", sampling=replace(HOT, seed=seed)) for seed in range(len(pieces) % 3)]
            for other in others:
                other.result(300)
    assert_equal(handle.result(), expected)
    np.testing.assert_allclose(np.concatenate(pieces), expected.audio.samples, atol=1e-4)


def test_what_was_kept_for_speech_goes_with_the_talkers_prompt(fused, monkeypatch):
    """Embeddings and hidden states of a prompt are dropped once the Talker has them, and never kept for text."""
    executor, seen = fused.executor, []
    start, decode = executor.start, executor.decode_thinker

    def watched_start(states, stage):
        start(states, stage)
        seen.extend((stage, state.device_state.embeds is not None, len(state.device_state.hidden)) for state in states)

    def watched_decode(states, num_steps):
        seen.extend(
            ("decode", state.device_state.embeds is not None, len(state.device_state.hidden)) for state in states
        )
        decode(states, num_steps)

    monkeypatch.setattr(executor, "start", watched_start)
    monkeypatch.setattr(executor, "decode_thinker", watched_decode)
    fused.generate("Hello", return_audio=False, sampling=GREEDY)
    assert seen[0] == ("thinker", False, 0) and not any(kept or count for _, kept, count in seen)
    seen.clear()
    fused.generate("Hello", sampling=GREEDY)
    spoken = seen.index(("talker", False, 0))
    assert seen[0] == ("thinker", True, 0) and set(seen[spoken:]) <= {("talker", False, 0), ("decode", False, 0)}
    assert DeviceState(0).prompt is None
