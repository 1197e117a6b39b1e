"""A leader and its followers: equal answers, and who hears of what when something fails, is cancelled or ends."""

import threading
import time

import numpy as np
import pytest
from fake_executor import request
from group import Group
from test_loop import LONG, STEPS, Gate, answer, settle, until

from ms_omni import OmniError
from ms_omni.outputs import AudioChunk, StreamEnd, TextDelta
from ms_omni.scheduling import shared
from ms_omni.scheduling.request import EngineStopped, Prepared, RequestCancelled, StepFailed
from ms_omni.scheduling.steps import ExecutorLost


@pytest.fixture
def start():
    """Groups that the test need not close."""
    groups = []

    def start(size=2, on_step=lambda *step: None, **settings):
        groups.append(Group(size, on_step, **settings))
        return groups[-1]

    yield start
    for group in groups:
        group.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(shared, "SETTLE_S", 0.3)
    monkeypatch.setattr(shared, "STUCK_S", 0.3)


def never():
    raise AssertionError("media are read on a follower")


def lost(why):
    return rf"^the engine has stopped \(ExecutorLost: {why}\) and must be loaded again$"


def all_idle(group):
    settle(group.loop, group.executors[0])
    for follower, executor in zip(group.followers, group.executors[1:], strict=True):
        until(lambda: not follower._states and not executor.alive)


@pytest.mark.parametrize("size", [2, 4])
def test_a_process_that_only_follows_does_every_step(start, size):
    group = start(size, max_num_seqs=4)
    following = [threading.Thread(target=follower.follow) for follower in group.followers]
    for thread in following:
        thread.start()
    kinds = [{"new": 5 + 3 * i, "frames": None if i % 3 == 0 else 4 * i, "prompt": 4 + 7 * i} for i in range(8)]
    handles = [group.loop.submit(request(seed=seed, stop_ids=(3,), **kind)) for seed, kind in enumerate(kinds)]
    alone = start(1, max_num_seqs=1).loop
    for handle, (seed, kind) in zip(handles, enumerate(kinds), strict=True):
        expected = alone.submit(request(seed=seed, stop_ids=(3,), **kind))
        assert answer(handle.result(60)) == answer(expected.result(60))
    all_idle(group)
    assert any(len(seeds) > 1 for _, seeds, *_ in group.executors[0].steps)
    for executor, follower in zip(group.executors[1:], group.followers, strict=True):
        assert executor.steps == group.executors[0].steps and not follower._handles
    group.loop.close()
    for thread in following:
        thread.join(60)
        assert not thread.is_alive()


def test_ranks_that_ask_alike_are_answered_alike(start):
    """In whatever order their calls come, without a seed of their own, and with the leader's media."""
    group = start(2)
    counts, prepared = [], Prepared({"pixels": np.ones((3, 4), np.float32)}, np.arange(9), 12, {"prompt_tokens": 9})
    asked = [{"seed": None, "new": 20, "frames": 9, "talker_stop": False}, {"seed": 5}, {"seed": None, "new": 30}]
    first = group.followers[0].submit(request(prepare=never, progress=lambda *n: counts.append(n), **asked[0]))
    handles = [group.loop.submit(request(prepare=lambda: prepared, **each)) for each in asked]
    expected = [answer(handle.result(60)) for handle in handles]
    chunks = list(first)
    late = [group.followers[0].submit(request(prepare=never, **each)) for each in asked[1:]]
    assert [answer(chunks[-1].output), *(answer(handle.result(60)) for handle in late)] == expected
    assert isinstance(chunks[-1], StreamEnd) and isinstance(chunks[0], TextDelta)
    assert sum(isinstance(chunk, AudioChunk) for chunk in chunks) > 1
    assert ("code2wav", 9, 9) in counts
    output = chunks[-1].output
    assert output.usage.prompt_tokens == 9
    assert set(output.stats) == set(handles[0].result().stats) and output.stats["total_s"] >= output.stats["thinker_s"]
    all_idle(group)
    assert not group.followers[0]._handles


def test_an_answer_is_kept_for_a_rank_that_asks_after_the_leader_has_closed(start):
    group = start(2)
    expected = answer(group.loop.submit(request()).result(60))
    group.loop.close()
    group.followers[0]._threads[1].join(60)
    assert answer(group.followers[0].submit(request(prepare=never)).result(0)) == expected
    with pytest.raises(EngineStopped, match="^the engine was closed$"):
        group.followers[0].submit(request(prepare=never))


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OmniError("a.png: no picture"), OmniError("a.png: no picture")), (OSError("x"), StepFailed("OSError: x"))],
)
def test_what_the_leader_cannot_prepare_fails_on_all(start, error, expected):
    def fail():
        raise error

    group = start(3)
    asked = [{"seed": 0}, {"seed": 1}]
    answered = group.loop.submit(request(seed=0)), group.loop.submit(request(seed=1, prepare=fail))
    elsewhere = [[each.submit(request(prepare=never, **kind)) for kind in asked] for each in group.followers]
    with pytest.raises(type(error), match=str(error)):
        answered[1].result(60)
    for first, second in elsewhere:
        assert answer(first.result(60)) == answer(answered[0].result(60))
        with pytest.raises(type(expected), match=f"^{expected}$"):
            second.result(60)
    all_idle(group)
    assert not any(follower._handles for follower in group.followers)


def test_what_can_never_fit_fails_on_all(start):
    group = start(2, num_blocks=20)
    handles = [loop.submit(request(new=500)) for loop in (group.loop, group.followers[0])]
    for handle in handles:
        with pytest.raises(OmniError, match="--thinker-max-new-tokens 500"):
            handle.result(60)
    assert group.loop.submit(request()).result(60)


@pytest.mark.parametrize("how", ["cancel", "drop"])
@pytest.mark.parametrize("name", STEPS)
def test_cancelled_on_the_leader_at_every_stage(start, name, how):
    gate = Gate(name)
    group = start(2, lambda rank, *step: rank or gate(*step))
    handle, other = (group.loop.submit(request(seed=seed, **LONG)) for seed in (1, 2))
    elsewhere = [group.followers[0].submit(request(prepare=never)) for _ in range(2)]
    assert gate.reached.wait(60)
    if how == "cancel":
        handle.cancel()
    else:
        del handle
    gate.opened.set()
    with pytest.raises(RequestCancelled):
        elsewhere[0].result(60)
    assert answer(elsewhere[1].result(60)) == answer(other.result(60))
    all_idle(group)
    assert group.executors[0].steps == group.executors[1].steps


def test_cancelled_on_a_follower_only(start):
    """Nobody reads it there; the leader's is answered."""
    gate = Gate("thinker")
    group = start(2, lambda rank, *step: rank or gate(*step))
    handle, elsewhere = group.loop.submit(request(**LONG)), group.followers[0].submit(request(prepare=never))
    assert gate.reached.wait(60)
    elsewhere.cancel()
    gate.opened.set()
    assert len(handle.result(60).token_ids) == 400
    with pytest.raises(RequestCancelled):
        elsewhere.result(0)
    all_idle(group)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_fails_alike_on_all_fails_its_requests(start, name):
    failing = {(rank, name) for rank in range(3)}

    def fail(rank, name, *more):
        if (rank, name) in failing:
            failing.remove((rank, name))
            raise OmniError(f"{name}: wrong shape")

    group = start(3, fail)
    handle, *elsewhere = [loop.submit(request(**LONG)) for loop in (group.loop, *group.followers)]
    for each in (handle, *elsewhere):
        with pytest.raises(OmniError, match=f"^{name}: wrong shape$"):
            each.result(60)
    handle, *elsewhere = [loop.submit(request(**LONG)) for loop in (group.loop, *group.followers)]
    for each in elsewhere:
        assert answer(each.result(60)) == answer(handle.result(60))
    all_idle(group)


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("name", ["start thinker", "thinker", "code2wav"])
def test_a_step_that_fails_on_one_rank_ends_all(start, impatient, failing, name):
    """Where the others wait in a collective for the one that failed, and where they have done theirs."""

    def fail(rank, step, *more):
        if (rank, step) == (failing, name):
            raise ArithmeticError("one bit fell over")

    group = start(3, fail)
    handles = [loop.submit(request(**LONG)) for loop in (group.loop, *group.followers)]
    message = lost(f"rank {failing} failed: ArithmeticError: one bit fell over")
    for handle in handles:
        with pytest.raises(EngineStopped, match=message):
            handle.result(60)
    with pytest.raises(EngineStopped, match=message):
        group.loop.submit(request())
    for follower in group.followers:
        with pytest.raises(EngineStopped, match=message):
            follower.follow()
    group.end(failing or 1)  # as the launcher does then
    group.end(3 - (failing or 1))


@pytest.mark.parametrize("name", STEPS)
def test_a_follower_that_is_gone_ends_all(start, name):
    gate = Gate(name)
    group = start(3, lambda rank, *step: rank == 2 and gate(*step))
    handle, elsewhere = group.loop.submit(request(**LONG)), group.followers[0].submit(request(prepare=never))
    assert gate.reached.wait(60)
    group.end(2)
    for each in (handle, elsewhere):
        with pytest.raises(EngineStopped, match=lost("rank 2 has ended")):
            each.result(60)
    with pytest.raises(EngineStopped, match=lost("rank 2 has ended")):
        group.followers[0].follow()
    with pytest.raises(EngineStopped, match=lost("rank 2 has ended")):
        group.loop.submit(request())
    gate.opened.set()


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_leader_that_is_gone_ends_all(start, is_busy):
    gate = Gate("thinker")
    group = start(2, lambda rank, *step: rank and gate(*step))
    elsewhere = group.followers[0].submit(request(prepare=never))
    # Kept: what nobody waits for is cancelled
    handles = [group.loop.submit(request(**LONG)) for _ in range(2 * is_busy)]
    group.loop._shared._links[0].close()
    with pytest.raises(EngineStopped, match=lost("rank 0 has ended")):
        elsewhere.result(60)
    with pytest.raises(EngineStopped, match=lost("rank 0 has ended")):
        group.followers[0].follow()
    gate.opened.set()
    group.end(1)
    assert len(handles) == 2 * is_busy


def test_an_executor_that_is_lost_says_so_everywhere(start, impatient):
    def fail(rank, name, *more):
        if (rank, name) == (0, "thinker"):
            raise ExecutorLost("the card is gone")

    group = start(2, fail)
    handles = [loop.submit(request(**LONG)) for loop in (group.loop, group.followers[0])]
    for handle in handles:
        with pytest.raises(EngineStopped, match="the card is gone"):
            handle.result(60)
    group.end(1)


@pytest.mark.parametrize("name", STEPS)
def test_the_leader_closes_with_requests_under_way(start, name):
    gate = Gate(name)
    group = start(2, lambda rank, *step: rank or gate(*step))
    handles = [loop.submit(request(**LONG)) for loop in (group.loop, group.followers[0])]
    assert gate.reached.wait(60)
    closing = threading.Thread(target=group.loop.close)
    closing.start()
    for handle in handles:
        with pytest.raises(EngineStopped, match="^the engine was closed$"):
            handle.result(60)
    gate.opened.set()
    closing.join(60)
    assert not closing.is_alive()
    group.followers[0].follow()  # an end in order


def test_a_follower_closes_with_requests_under_way(start):
    gate = Gate("talker")
    group = start(3, lambda rank, *step: rank or gate(*step))
    handle = group.loop.submit(request(**LONG))
    assert gate.reached.wait(60)
    closing = threading.Thread(target=group.followers[1].close)
    closing.start()
    until(lambda: group.loop._shared._lost)
    gate.opened.set()
    with pytest.raises(EngineStopped, match=lost("rank 2 has closed its engine")):
        handle.result(60)
    closing.join(60)
    assert not closing.is_alive()
    group.followers[0].follow()  # an end in order


def test_the_leader_may_close_after_its_followers(start, monkeypatch):
    """As in a program that every rank runs alike: nobody is called lost, and nobody is waited for."""
    monkeypatch.setattr(shared, "STUCK_S", 120.0)
    group = start(2)
    handles = [loop.submit(request(**LONG)) for loop in (group.loop, group.followers[0])]
    handles[1].result(60)
    group.followers[0].close()
    assert handles[0].result(60)
    began = time.monotonic()
    group.loop.close()
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("slow", [0, 2])
def test_a_rank_that_has_its_answer_may_close_before_the_others_have_theirs(start, slow):
    ended = threading.Event()

    def wait(rank, name, *more):  # the last step, in which nobody needs the others
        if rank == slow and name == "code2wav":
            ended.wait(60)

    group = start(3, wait)
    handles = [loop.submit(request(frames=3, chunks=(99, 99))) for loop in (group.loop, *group.followers)]
    handles[1].result(60)
    group.followers[0].close()
    ended.set()
    for handle in handles:
        assert answer(handle.result(60)) == answer(handles[1].result(60))


def test_a_request_is_not_kept_by_anybody(start):
    from weakref import ref

    group = start(2)
    handle, elsewhere = group.loop.submit(request(**LONG)), group.followers[0].submit(request(prepare=never))
    until(lambda: group.followers[0]._states)
    (replica,) = [ref(each) for each in group.followers[0]._states.values()]
    handle.result(60), elsewhere.result(60)
    all_idle(group)
    until(lambda: replica() is None)
    assert not group.loop._shared._started
    kept = ref(elsewhere)
    del elsewhere
    assert kept() is None
