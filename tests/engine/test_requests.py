"""Many requests to one engine: from threads, in lists, cancelled, dropped, too long, broken, closed."""

import gc
import subprocess
import sys
import threading
import time
from weakref import ref

import numpy as np
import pytest

from ms_omni import AudioChunk, OmniEngine, OmniError, SamplingParams, StreamEnd, TextDelta
from ms_omni.preprocessing import are_several
from ms_omni.scheduling.request import EngineStopped, RequestCancelled, StepFailed

HELLO = [{"role": "user", "content": "Hello there"}]
SHORT = {"thinker_max_new_tokens": 5, "talker_max_new_tokens": 4}
GREEDY = SamplingParams(**SHORT, thinker_temperature=0.0, talker_temperature=0.0)
# Never at its end before a test is
ENDLESS = SamplingParams(thinker_max_new_tokens=20_000, ignore_eos=True, seed=0)


@pytest.fixture(scope="module", params=["fused", "baseline"])
def engine(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def own_engine(tiny_dir, cpu):
    """One that the test may close."""
    with OmniEngine.from_pretrained(tiny_dir, with_talker=False, device="CPU", max_num_seqs=2) as engine:
        yield engine


def asked(count):
    """Questions and settings that differ: text alone and speech, greedy and sampled."""
    for i in range(count):
        hot = {} if i % 2 else {"thinker_temperature": 0.0, "talker_temperature": 0.0}
        sampling = SamplingParams(**SHORT, **hot, seed=i)
        yield f"Question {'long ' * 3 * i}{i}", {"return_audio": i % 3 > 0, "sampling": sampling}


class Plain:
    """An answer that equals another one: ids and codes, and waves within 1e-4, whatever was computed beside them."""

    def __init__(self, output):
        audio = output.audio
        self.exact = output.text, output.token_ids, audio and audio.codes.tolist()
        self.samples = audio.samples if audio else np.zeros(0, np.float32)

    def __eq__(self, other):
        return self.exact == other.exact and np.allclose(self.samples, other.samples, rtol=0, atol=1e-4)

    def __repr__(self):
        return f"{self.exact}, {self.samples}"


def settle(engine):
    """Waits until nothing is under way and every block is free."""
    loop, scheduler = engine._loop, engine._loop._scheduler
    all_blocks = {stage: pool.num_blocks - 1 for stage, pool in engine.executor.limits.pools.items()}
    until(lambda: not (scheduler.states or loop._arrivals or loop._prepared) and scheduler.free_blocks == all_blocks)


def until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_threads_get_the_answers_that_they_would_get_alone(fused):
    alone = [Plain(fused.generate(question, **options)) for question, options in asked(6)]
    found = {}

    def ask(i, question, options):
        found[i] = Plain(fused.submit(question, **options).result(120))

    threads = [threading.Thread(target=ask, args=(i, *each)) for i, each in enumerate(asked(6))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [found[i] for i in range(6)] == alone
    settle(fused)


def test_a_list_is_answered_in_its_order(engine):
    questions = ["Hello there", HELLO, "What is your name?"]
    outputs = engine.generate(questions, return_audio=False, sampling=GREEDY)
    assert [out.token_ids for out in outputs] == [
        engine.generate(question, return_audio=False, sampling=GREEDY).token_ids for question in questions
    ]
    assert outputs[0].token_ids == outputs[1].token_ids != outputs[2].token_ids
    inputs = engine.processor.prepare(HELLO).arrays
    assert [out.token_ids for out in engine.generate([inputs], return_audio=False, sampling=GREEDY)] == [
        outputs[0].token_ids
    ]


@pytest.mark.parametrize(
    ("conversation", "several"),
    [("Hello", False), (HELLO, False), (HELLO * 2, False), ({"input_ids": [[1]]}, False), ([], False),
     (["Hello"], True), ([HELLO], True), ([HELLO, "Hello"], True), ([{"input_ids": [[1]]}], True)],
)  # fmt: skip
def test_lists_of_messages_and_of_conversations_are_told_apart(conversation, several):
    assert are_several(conversation) == several


def test_a_list_with_a_mistake_raises_it_and_ends_the_rest(fused):
    broken = [{"role": "user", "content": [{"type": "image", "image": "gone.png"}]}]
    with pytest.raises(OmniError, match="gone.png: no such file"):
        fused.generate([broken, "Hello"], sampling=ENDLESS, return_audio=False)
    with pytest.raises(OmniError, match="--speaker Nobody"):
        fused.generate(["Hello", "Hello"], sampling=ENDLESS, speaker="Nobody")
    settle(fused)


def test_one_bad_conversation_fails_alone(fused):
    bad = fused.submit([{"role": "user", "content": [{"type": "image", "image": "gone.png"}]}])
    good = fused.submit(HELLO, sampling=GREEDY, return_audio=False)
    assert len(good.result(60).token_ids) == 5
    with pytest.raises(OmniError, match="gone.png: no such file"):
        bad.result(60)


def test_a_handle_gives_pieces_and_the_result(engine):
    handle = engine.submit(HELLO, sampling=GREEDY, first_chunk_frames=1, chunk_frames=2)
    chunks = list(handle)
    assert {type(chunk) for chunk in chunks} == {TextDelta, AudioChunk, StreamEnd}
    assert chunks[-1].output is handle.result() and handle.done
    first, *others = (len(chunk.samples) for chunk in chunks if isinstance(chunk, AudioChunk))
    assert first == 1920 - 555 and sum(others) == 2 * 1920 and max(others) <= 2 * 1920
    handle.cancel()  # of a finished request: nothing happens
    assert handle.result() is chunks[-1].output


@pytest.mark.parametrize("how", ["cancel", "drop", "close the iterator"])
def test_who_goes_away_ends_the_work(engine, how):
    handle = engine.submit(HELLO, sampling=ENDLESS, return_audio=False)
    pieces = iter(handle)
    next(pieces)
    if how == "cancel":
        handle.cancel()
        with pytest.raises(RequestCancelled):
            handle.result()
    elif how == "close the iterator":
        pieces.close()
    del handle, pieces
    settle(engine)
    assert engine.generate(HELLO, return_audio=False, sampling=GREEDY).usage.completion_tokens == 5


def test_an_interrupt_ends_the_work(fused):
    def interrupt(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        fused.generate(HELLO, sampling=ENDLESS, return_audio=False, progress=interrupt)
    settle(fused)
    assert raised.traceback  # which keeps the handle


def test_an_internal_error_in_a_step_fails_its_requests(fused, monkeypatch):
    executor, calls = fused.executor, []
    decode = executor.decode_thinker

    def breaks_once(states, num_steps):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("bug")
        decode(states, num_steps)

    monkeypatch.setattr(executor, "decode_thinker", breaks_once)
    with pytest.raises(StepFailed, match="^internal error in a thinker step: ValueError: bug$"):
        fused.generate(HELLO, return_audio=False, sampling=GREEDY)
    assert len(fused.generate(HELLO, return_audio=False, sampling=GREEDY).token_ids) == 5
    settle(fused)


def test_more_than_the_pool_has_is_refused_by_flag_and_bytes(tiny_dir, cpu, monkeypatch):
    monkeypatch.setattr("ms_omni.runtime.mindone_executor.free_device_bytes", lambda device: 10 << 20)
    with OmniEngine.from_pretrained(tiny_dir, engine="mindone", device="CPU") as small:
        pool = small.executor.limits.pools["thinker"]
        has = (pool.num_blocks - 1) * pool.block_bytes
        whole = sum((each.num_blocks - 1) * each.block_bytes for each in small.executor.limits.pools.values())
        assert 8 << 20 < whole <= 10 << 20
        with pytest.raises(OmniError, match=f"--thinker-max-new-tokens 20000: .*Thinker's .* has {has} bytes"):
            small.generate(HELLO, sampling=ENDLESS, return_audio=False)
        assert len(small.generate(HELLO, sampling=GREEDY, return_audio=False).token_ids) == 5


@pytest.mark.parametrize(
    "settings", [{"max_num_seqs": 0}, {"max_num_seqs": 2, "engine": "mindone"}, {"max_num_seqs": 99}]
)
def test_so_many_at_once_cannot_be(tiny_dir, cpu, settings):
    with pytest.raises(OmniError, match=f"--max-num-seqs {settings['max_num_seqs']}: "):
        OmniEngine.from_pretrained(tiny_dir, with_talker=False, **settings)


def test_what_was_set_is_what_runs_at_a_time(own_engine, baseline):
    assert own_engine.max_num_seqs == 2 and baseline.max_num_seqs == 1
    handles = [own_engine.submit(HELLO, sampling=ENDLESS) for _ in range(4)]
    pieces = [iter(handle) for handle in handles]
    assert all(next(each) for each in pieces[:2])
    assert len(own_engine._loop._scheduler._running) == 2 and not any(handle._chunks for handle in handles[2:])


def test_close_ends_what_is_under_way(own_engine):
    handles = [own_engine.submit(HELLO, sampling=ENDLESS) for _ in range(3)]
    pieces = iter(handles[0])
    next(pieces)
    threads = own_engine._loop._threads
    own_engine.close()
    assert not any(thread.is_alive() for thread in threads)
    for handle in handles:
        with pytest.raises(EngineStopped, match="^the engine was closed$"):
            handle.result()
    with pytest.raises(EngineStopped):
        own_engine.generate(HELLO)
    own_engine.close()


def test_an_engine_lives_as_long_as_its_handles_and_no_longer(tiny_dir, cpu):
    engine = OmniEngine.from_pretrained(tiny_dir, with_talker=False, device="CPU")
    threads, kept = engine._loop._threads, [ref(engine), ref(engine.executor), ref(engine.model)]
    handle = engine.submit(HELLO, sampling=GREEDY)
    del engine
    assert len(handle.result(60).token_ids) == 5
    assert all(thread.is_alive() for thread in threads)
    del handle
    until(lambda: not any(thread.is_alive() for thread in threads))
    gc.collect()
    assert not any(each() for each in kept)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "end", "code"), [("fused", "", 0), ("fused", "raise SystemExit(3)", 3), ("mindone", "", 0)]
)
def test_a_process_may_end_with_requests_under_way(tiny_dir, engine, end, code):
    program = (
        "from ms_omni import OmniEngine, SamplingParams\n"
        f"engine = OmniEngine.from_pretrained({str(tiny_dir)!r}, engine={engine!r}, with_talker=False)\n"
        "endless = SamplingParams(thinker_max_new_tokens=20_000, ignore_eos=True)\n"
        "pieces = engine.stream('Hello', sampling=endless)\n"
        "next(pieces)\n"
        "more = [engine.submit('Hello', sampling=endless) for _ in range(3)]\n"
        f"print('goes')\n{end}\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (code, "goes\n", "")
