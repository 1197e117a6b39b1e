"""The loop with threads: who fails with whom, cancelling, dropping, closing."""

import itertools
import threading
import time
from dataclasses import replace
from weakref import ref

import numpy as np
import pytest
from fake_executor import FakeExecutor, decode, limits, request

from ms_omni import OmniError
from ms_omni.outputs import AudioChunk, StreamEnd, TextDelta
from ms_omni.scheduling.loop import EngineLoop
from ms_omni.scheduling.request import EngineStopped, RequestCancelled, StepFailed
from ms_omni.scheduling.steps import ExecutorLost

LONG = {"new": 400, "frames": 300, "talker_stop": False}
STEPS = ("start thinker", "prefill thinker", "thinker", "start talker", "prefill talker", "talker", "code2wav")


@pytest.fixture
def start():
    """Loops that the test need not close."""
    loops = []

    def start(on_step=lambda *step: None, clock=time.perf_counter, **settings):
        executor = FakeExecutor(limits(**settings), on_step)
        loops.append(EngineLoop(executor, decode, clock))
        return loops[-1], executor

    yield start
    for loop in loops:
        loop.close()
        assert not any(thread.is_alive() for thread in loop._threads)


class Gate:
    """Holds the executor at the first step of a kind until it is opened."""

    def __init__(self, name, error=None):
        self.name, self.error = name, error
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, name, *details):
        if name == self.name and not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(60)
            if self.error:
                raise self.error


def settle(loop, executor):
    """Waits until nothing runs, and checks that nothing is left."""
    until(lambda: not loop._scheduler.states and not executor.alive)
    all_blocks = {stage: pool.num_blocks - 1 for stage, pool in executor.limits.pools.items()}
    until(lambda: loop.free_blocks == all_blocks)


def until(is_true, seconds=60):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def answer(output):
    audio = output.audio
    return output.token_ids, output.finish_reason, audio and (audio.codes.tolist(), audio.samples.tolist())


def test_a_spoken_answer_in_pieces(start):
    loop, _ = start(clock=itertools.count().__next__)  # what was made has long been heard
    chunks = list(loop.submit(request(new=9, frames=7, talker_stop=False, stats={"load_s": 3.0})))
    output = chunks[-1].output
    assert isinstance(chunks[-1], StreamEnd)
    text = [chunk for chunk in chunks if isinstance(chunk, TextDelta)]
    assert "".join(delta.text for delta in text) == output.text == decode(output.token_ids)
    wave = [chunk.samples for chunk in chunks if isinstance(chunk, AudioChunk)]
    assert [len(samples) for samples in wave] == [4, 4, 4, 2]  # 2 frames, 2, 2 and the last, of 2 samples each
    np.testing.assert_array_equal(np.concatenate(wave), output.audio.samples)
    assert output.audio.codes.shape == (3, 7) and output.usage.completion_tokens == 9
    assert output.audio.codes[-1].tolist() == list(output.token_ids[1:-1])  # the text of each frame


def test_stats_by_a_clock_that_stands_still_but_in_steps():
    now = [0.0]

    def pass_time(name, *details):
        now[0] += {"start thinker": 8.0, "prefill thinker": 4.0, "thinker": 1.0, "talker": 0.5}.get(name, 0.25)

    def prepare():
        now[0] += 16.0
        return asked.prepare()

    asked = request(new=9, frames=3, talker_stop=False, chunks=(3, 3))
    loop = EngineLoop(FakeExecutor(limits(num_steps=1), pass_time), decode, clock=lambda: now[0])
    stats = loop.submit(replace(asked, prepare=prepare)).result(60).stats
    loop.close()
    # 12 tokens of a prompt are two chunks, 15 of the Talker's as well
    assert stats["prepare_s"] == 16 and stats["queue_s"] == 0
    assert stats["thinker_s"] == 8 + 2 * 4 + 8 and stats["talker_s"] == 0.25 * 3 + 3 * 0.5
    assert stats["code2wav_s"] == 0.25 and stats["first_token_s"] == 16 + 8 + 2 * 4
    assert stats["total_s"] == 16 + stats["thinker_s"] + stats["talker_s"] + 0.25
    assert stats["first_audio_s"] == stats["total_s"] - 3  # before the last tokens


def test_the_same_answers_alone_and_among_others(start):
    kinds = [{"new": 5 + 3 * i, "frames": None if i % 3 == 0 else 4 * i, "prompt": 4 + 7 * i} for i in range(8)]
    asked = [request(seed=seed, stop_ids=(3,), **kind) for seed, kind in enumerate(kinds)]
    loop, _ = start(max_num_seqs=1)
    alone = [answer(loop.submit(each).result(60)) for each in asked]
    for settings in ({"max_num_seqs": 8}, {"max_num_seqs": 3, "num_steps": 1}, {"num_blocks": 60}):
        gate = Gate("start thinker")
        loop, executor = start(gate, **settings)
        handles = [loop.submit(each) for each in asked]
        until(lambda: len(loop._prepared) + len(loop._scheduler.states) > 1)
        gate.opened.set()
        assert [answer(handle.result(60)) for handle in handles] == alone
        assert any(len(seeds) > 1 for _, seeds, *_ in executor.steps)
        settle(loop, executor)


def test_answers_without_a_seed_differ(start):
    loop, _ = start()
    handles = [loop.submit(request(new=20, seed=None)) for _ in range(2)]
    assert handles[0].result(60).token_ids != handles[1].result(60).token_ids


@pytest.mark.parametrize("error", [OmniError("a.png: no picture"), ValueError("bug"), SystemExit("gone")])
def test_what_cannot_be_prepared_fails_alone(start, error):
    def fail():
        raise error

    loop, executor = start()
    handles = [loop.submit(request(seed=i, prepare=fail if i == 1 else None)) for i in range(3)]
    with pytest.raises(type(error), match=str(error)):
        handles[1].result(60)
    assert all(len(handles[i].result(60).token_ids) == 6 for i in (0, 2))
    settle(loop, executor)


def test_what_can_never_fit_fails_alone(start):
    loop, executor = start(num_blocks=20)
    handles = [loop.submit(request(new=500 if i == 1 else 6, seed=i)) for i in range(3)]
    with pytest.raises(OmniError, match="--thinker-max-new-tokens 500: with a prompt of 12 tokens"):
        handles[1].result(60)
    assert all(handles[i].result(60) for i in (0, 2))
    settle(loop, executor)


def test_inputs_are_prepared_beside_the_steps_and_only_so_many_ahead(start):
    gate, begun = Gate("thinker"), []
    loop, executor = start(gate, max_num_seqs=2)

    def prepared(seed):
        inner = request(seed=seed).prepare
        return request(seed=seed, prepare=lambda: begun.append(seed) or inner())

    handles = [loop.submit(prepared(seed)) for seed in range(9)]
    assert gate.reached.wait(60)
    until(lambda: len(begun) >= 3)
    time.sleep(0.05)
    # Of 9 two may run, two wait, and two readers may have been at it when there was room
    assert sorted(begun) == list(range(len(begun))) and len(begun) <= 6
    gate.opened.set()
    assert len({handle.result(60).token_ids for handle in handles}) == 9
    settle(loop, executor)


def test_who_is_prepared_late_keeps_its_place(start):
    """The first one's media take long: the second goes ahead; the third, which came later, waits behind the first."""
    media = threading.Event()
    gate = Gate("thinker")
    loop, executor = start(gate, max_num_seqs=1)
    inner = request(seed=1).prepare
    slow = loop.submit(request(seed=1, prepare=lambda: media.wait(60) and inner()))
    second = loop.submit(request(seed=2))
    assert gate.reached.wait(60)
    third = loop.submit(request(seed=3))
    until(lambda: len(loop._prepared) == 1)
    media.set()
    until(lambda: len(loop._prepared) == 2)
    gate.opened.set()
    assert all(handle.result(60) for handle in (slow, second, third))
    assert [seeds for name, seeds, *_ in executor.steps if name == "start thinker"] == [(2,), (1,), (3,)]


@pytest.mark.parametrize("name", STEPS)
def test_an_error_in_a_step_ends_its_requests_and_no_other(start, name):
    gate = Gate(name, ValueError("out of luck"))
    loop, executor = start(gate, max_num_seqs=2)
    handles = [loop.submit(request(seed=seed, new=30, frames=20, talker_stop=False)) for seed in range(4)]
    assert gate.reached.wait(60)
    gate.opened.set()
    failed = []
    for seed, handle in enumerate(handles):
        try:
            assert len(handle.result(60).token_ids) == 30
        except StepFailed as error:
            assert str(error).endswith("step: ValueError: out of luck") and isinstance(error.__cause__, ValueError)
            assert "in __call__\n    raise self.error" in str(error.__cause__.__cause__)
            failed.append(seed)
    hit = next(seeds for step, seeds, *_ in executor.steps if step == name)
    assert tuple(failed) == hit
    assert loop.submit(request()).result(60)
    settle(loop, executor)


def test_an_error_for_the_user_stays_what_it_is(start):
    gate = Gate("start thinker", OmniError("input_features: wrong shape"))
    gate.opened.set()
    loop, _ = start(gate)
    with pytest.raises(OmniError, match="^input_features: wrong shape$"):
        loop.submit(request()).result(60)


def test_an_executor_that_is_lost_ends_all(start, caplog):
    gate = Gate("thinker", ExecutorLost("rank 1 is gone"))
    loop, _ = start(gate, max_num_seqs=1)
    handles = [loop.submit(request(seed=seed)) for seed in range(5)]
    gate.opened.set()
    message = r"^the engine has stopped \(ExecutorLost: rank 1 is gone\) and must be loaded again$"
    for handle in handles:
        with pytest.raises(EngineStopped, match=message):
            handle.result(60)
    with pytest.raises(EngineStopped, match=message):
        loop.submit(request())
    assert "rank 1 is gone" in caplog.text


@pytest.mark.parametrize("how", ["cancel", "drop"])
@pytest.mark.parametrize("name", STEPS)
def test_cancelled_at_every_stage(start, name, how):
    gate = Gate(name)
    loop, executor = start(gate)
    handle = loop.submit(request(seed=1, **LONG))
    other = loop.submit(request(seed=2, new=50, frames=20, talker_stop=False))
    assert gate.reached.wait(60)
    if how == "cancel":
        handle.cancel()
        with pytest.raises(RequestCancelled):
            handle.result(0)
    else:
        del handle
    gate.opened.set()
    assert len(other.result(60).token_ids) == 50
    settle(loop, executor)
    assert sum(1 in seeds for _, seeds, *_ in executor.steps) < 300


def test_cancelled_before_and_while_it_is_prepared(start):
    media, begun, prepared = threading.Event(), threading.Event(), []
    loop, executor = start()

    def wait():
        begun.set()
        assert media.wait(60)
        return request().prepare()

    handles = [loop.submit(request(prepare=wait)) for _ in range(2)]  # both readers are busy
    waiting = loop.submit(request(prepare=lambda: prepared.append(1)))
    assert begun.wait(60)
    for handle in (*handles, waiting):
        handle.cancel()
    media.set()
    assert loop.submit(request()).result(60)
    settle(loop, executor)
    assert executor.names().count("start thinker") == 1 and not prepared


def test_closing_an_iterator_in_the_middle_ends_the_work(start):
    gate = Gate("thinker")
    loop, executor = start(gate)
    handle = loop.submit(request(**LONG))  # kept: who drops it cancels, too
    stream = iter(handle)
    next(stream)  # the first token, which the prompt's last step made
    assert gate.reached.wait(60)
    stream.close()
    gate.opened.set()
    settle(loop, executor)
    assert executor.names().count("thinker") == 1 and "code2wav" not in executor.names()


def test_nothing_of_an_answer_is_kept(start):
    all_run, noted = threading.Event(), threading.Event()

    def hold(*step):
        if len(executor.alive) == 3 and not all_run.is_set():
            all_run.set()
            assert noted.wait(60)

    gate = Gate("start thinker")
    loop, executor = start(lambda *step: gate(*step) or hold(*step))
    asked = [request(seed=seed, **LONG) for seed in range(3)]
    handles, kept = [loop.submit(each) for each in asked], [ref(each.prepare) for each in asked]
    del asked
    until(lambda: len(loop._prepared) + len(loop._scheduler.states) == 3)
    gate.opened.set()
    assert all_run.wait(60)
    kept += [ref(state) for state in executor.alive.values()]
    noted.set()
    for handle in handles:
        handle.result(60)
    settle(loop, executor)
    until(lambda: not any(each() for each in kept))
    del handle, handles
    until(lambda: not loop._handles)


def test_an_error_keeps_no_requests(start):
    gate = Gate("talker", ValueError("bug"))
    loop, executor = start(gate)
    handle = loop.submit(request(**LONG))
    assert gate.reached.wait(60)
    (state,) = [ref(state) for state in executor.alive.values()]
    gate.opened.set()
    with pytest.raises(StepFailed):
        handle.result(60)
    settle(loop, executor)
    until(lambda: state() is None)


@pytest.mark.parametrize("name", STEPS)
def test_close_with_requests_under_way(start, name):
    gate = Gate(name)
    loop, executor = start(gate, max_num_seqs=2)
    handles = [loop.submit(request(seed=seed, **LONG)) for seed in range(5)]
    assert gate.reached.wait(60)
    closing = threading.Thread(target=loop.close)
    closing.start()
    for handle in handles:
        with pytest.raises(EngineStopped, match="^the engine was closed$"):
            handle.result(60)
    assert closing.is_alive()  # waits for the step
    gate.opened.set()
    closing.join(60)
    assert not closing.is_alive() and not executor.alive
    with pytest.raises(EngineStopped):
        loop.submit(request())
    loop.close()


def test_close_while_media_are_read(start):
    media, begun = threading.Event(), threading.Event()
    loop, _ = start()
    handle = loop.submit(request(prepare=lambda: begun.set() or (media.wait(60) and request().prepare())))
    assert begun.wait(60)
    threading.Timer(0.05, media.set).start()
    loop.close()
    with pytest.raises(EngineStopped):
        handle.result(60)


def test_an_idle_loop_sleeps(start):
    loop, executor = start()
    loop.submit(request()).result(60)
    settle(loop, executor)
    calls = []
    take = loop._take_prepared
    loop._take_prepared = lambda: calls.append(1) or take()
    time.sleep(0.3)
    assert not calls


def test_requests_from_many_threads(start):
    loop, executor = start(max_num_seqs=8)
    seen = {}

    def ask(seed):
        seen[seed] = answer(loop.submit(request(seed=seed, new=20, frames=10)).result(60))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 24 and len({tokens for tokens, *_ in seen.values()}) == 24
    settle(loop, executor)
