"""A thousand requests of all kinds, with everything that can go wrong: every block comes back, nothing hangs."""

import threading
from collections import Counter

import numpy as np
import pytest
from fake_executor import FakeExecutor, decode, limits, request
from group import Group
from test_loop import until

from ms_omni import OmniError
from ms_omni.scheduling.loop import EngineLoop
from ms_omni.scheduling.request import StepFailed

HOW = {"read": 0.7, "close": 0.1, "cancel": 0.1, "drop": 0.1}


class Unreliable:
    """Fails every 250th step until it is repaired."""

    def __init__(self):
        self.num_steps, self.failed, self.repaired = 0, set(), False

    def __call__(self, name, seeds, *details):
        self.num_steps += 1
        if self.num_steps % 250 == 0 and not self.repaired:
            self.failed |= set(seeds)
            raise ArithmeticError(name)


def refuse():
    raise OmniError("no such file")


def made_at_random(seed, random):
    speaks = random.random() < 0.6
    return request(
        prompt=int(random.integers(1, 80)),
        new=int(random.integers(1, 25)),
        frames=int(random.integers(1, 20)) if speaks else None,
        seed=seed,
        stop_ids=(3, 11),
        chunks=tuple(random.integers(1, 9, 2)),
        prepare=refuse if random.random() < 0.03 else None,
    )


def read(handle, how, outcomes, seed):
    """As one of many readers: to the end, a part of it, not at all."""
    try:
        if how == "drop":
            outcomes[seed] = "dropped"
        elif how == "close":
            for _, chunk in zip(range(3), handle, strict=False):
                outcomes[seed] = chunk
            outcomes[seed] = "closed"
        elif how == "cancel":
            handle.cancel()
            outcomes[seed] = handle.result(60)  # it may have ended before
        else:
            outcomes[seed] = handle.result(60)
    except Exception as error:
        outcomes[seed] = error


def ask_all(loop, asked, random, outcomes):
    """From many threads, so that they meet at all stages."""
    readers = []
    for seed, each in enumerate(asked):
        how = str(random.choice(list(HOW), p=list(HOW.values())))
        readers.append(threading.Thread(target=read, args=(loop.submit(each), how, outcomes, seed)))
        readers[-1].start()
        if seed >= 60:
            readers[seed - 60].join(60)
    for reader in readers:
        reader.join(60)
        assert not reader.is_alive()


@pytest.mark.parametrize(("count", "max_num_seqs"), [(1000, 16), (100, 1)])
def test_every_block_comes_back(count, max_num_seqs):
    random, unreliable, outcomes = np.random.default_rng(0), Unreliable(), {}
    sizes = {"num_blocks": 250, "talker_blocks": 300, "prefill_chunk": 50}  # mostly, but not always, room for 16
    executor = FakeExecutor(limits(max_num_seqs=max_num_seqs, **sizes), unreliable)
    loop = EngineLoop(executor, decode)
    asked = [made_at_random(seed, random) for seed in range(count)]
    ask_all(loop, asked, random, outcomes)
    unreliable.repaired = True
    assert loop.submit(request(seed=count)).result(60)
    loop.close()
    assert not executor.alive and not loop._scheduler.states
    for stage, pool in executor.limits.pools.items():
        assert loop.free_blocks[stage] == pool.num_blocks - 1
    kinds = Counter(type(outcome).__name__ for outcome in outcomes.values())
    assert sum(kinds.values()) == count and kinds["OmniOutput"] > count / 2
    assert set(kinds) == {"OmniOutput", "OmniError", "RequestCancelled", "StepFailed", "str"}
    assert {seed for seed, outcome in outcomes.items() if isinstance(outcome, StepFailed)} <= unreliable.failed
    assert min(max_num_seqs, 6) <= max(len(seeds) for _, seeds, *_ in executor.steps) <= max_num_seqs
    check_answers(asked, outcomes)


def test_followers_lose_nothing_either():
    random, outcomes = np.random.default_rng(1), {}
    failing = [Unreliable() for _ in range(3)]
    group = Group(3, lambda rank, *step: failing[rank](*step), max_num_seqs=8, num_blocks=250, prefill_chunk=50)
    asked = [made_at_random(seed, random) for seed in range(200)]
    ask_all(group.loop, asked, random, outcomes)
    for follower in group.followers:  # those that were not asked for here are kept for whoever may come
        kept = follower._handles
        until(lambda: len(kept) == len(asked) and all(handle.done for handle in kept.values()))
        until(lambda: not follower._states)
        handles = [follower.submit(each) for each in asked]
        assert not follower._handles and all(handle.done for handle in handles)
        for seed, handle in enumerate(handles):
            if type(outcomes[seed]).__name__ == "OmniOutput":
                assert handle.result().token_ids == outcomes[seed].token_ids
    assert len({len(executor.steps) for executor in group.executors}) == 1 and failing[0].failed
    group.close()
    assert not any(executor.alive for executor in group.executors)
    check_answers(asked, outcomes)


def check_answers(asked, outcomes):
    """Whoever got an answer got its own."""
    loop = EngineLoop(FakeExecutor(limits(max_num_seqs=1, prefill_chunk=50)), decode)
    answered = [seed for seed, outcome in outcomes.items() if type(outcome).__name__ == "OmniOutput"]
    for seed in answered[:100]:
        expected = loop.submit(asked[seed]).result(60)
        assert outcomes[seed].token_ids == expected.token_ids and outcomes[seed].text == expected.text
        if expected.audio is not None:
            np.testing.assert_array_equal(outcomes[seed].audio.codes, expected.audio.codes)
            np.testing.assert_array_equal(outcomes[seed].audio.samples, expected.audio.samples)
    loop.close()
