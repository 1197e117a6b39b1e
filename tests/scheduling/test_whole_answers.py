"""An executor that answers in one call and only tells meanwhile what it makes, as mindone's generate does."""

import numpy as np
import pytest
from fake_executor import CODEC_END, decode, request

from ms_omni.outputs import AudioChunk, TextDelta
from ms_omni.scheduling.loop import EngineLoop
from ms_omni.scheduling.request import RequestCancelled
from ms_omni.scheduling.steps import Limits, Pool

WORDS, CODES = [10, 11, 12, 3], [50, 51, 52, 53, 54, CODEC_END]


class WholeAnswers:
    """One at a time: the text within the Thinker's prefill, then the speech, whose frames come at its end."""

    limits = Limits({"thinker": Pool(2, 1 << 20, 1), "talker": Pool(2, 1 << 20, 1)}, 1, 1 << 20, 1)

    def __init__(self, on_word=lambda: None):
        self.on_word, self.calls = on_word, []

    def start(self, states, stage):
        self.calls.append(f"start {stage}")

    def prefill(self, states, stage, spans):
        (state,) = states
        self.calls.append(f"prefill {stage}")
        if stage == "thinker":
            for word in WORDS:
                if state.is_cancelled:
                    raise RequestCancelled
                state.add_tokens([word])
                self.on_word()
            return
        for code in CODES:
            state.add_codec_tokens([code])
        state.add_frames(np.arange(15).reshape(3, 5))

    def decode_thinker(self, states, num_steps):
        raise AssertionError

    decode_talker = decode_thinker

    def vocode(self, states, counts):
        self.calls.append(f"code2wav {counts[0]}")
        for state, count in zip(states, counts, strict=True):
            state.add_wave(state.next_codes(count)[0].astype(np.float32), count)

    def release(self, state):
        self.calls.append("release")


@pytest.fixture
def start():
    loops = []

    def start(*arguments):
        executor = WholeAnswers(*arguments)
        loops.append(EngineLoop(executor, decode))
        return loops[-1], executor

    yield start
    for loop in loops:
        loop.close()


def asked(**more):
    return request(new=20, frames=20, stop_ids=(3,), chunks=(2, 2), **more)


def test_text_and_speech(start):
    loop, executor = start()
    counts = []
    handle = loop.submit(asked(progress=lambda *count: counts.append(count)))
    chunks = list(handle)
    deltas = [chunk for chunk in chunks if isinstance(chunk, TextDelta)]
    assert [delta.token_ids for delta in deltas] == [(word,) for word in WORDS]
    assert [chunk.samples.tolist() for chunk in chunks if isinstance(chunk, AudioChunk)] == [[0, 1], [2, 3], [4]]
    output = handle.result()
    assert output.finish_reason == output.audio.finish_reason == "stop" and output.token_ids == tuple(WORDS)
    np.testing.assert_array_equal(output.audio.codes, np.arange(15).reshape(3, 5))
    assert [count for count in counts if count[0] == "thinker"] == [("thinker", n, 20) for n in (1, 2, 3, 4)]
    assert [count for count in counts if count[0] != "thinker"] == [
        *(("talker", n, 21) for n in range(1, 7)), *(("code2wav", n, 5) for n in (2, 4, 5)),
    ]  # fmt: skip
    loop.submit(asked()).result(5)
    one = ["start thinker", "prefill thinker", "start talker", "prefill talker"]
    one += ["code2wav 2", "code2wav 2", "code2wav 1", "release"]
    assert executor.calls[:16] == one + one


def test_cancelled_within_the_call(start):
    handles = []
    loop, executor = start(lambda: handles.pop().cancel() if handles else None)
    first = loop.submit(asked(prepare=lambda: handles.append(first) or asked().prepare()))
    with pytest.raises(RequestCancelled):
        first.result(5)
    assert loop.submit(asked()).result(5).token_ids == tuple(WORDS)
    loop.close()
    assert executor.calls[:3] == ["start thinker", "prefill thinker", "release"]
