"""The order of steps: admission, rounds, chunks of prompts, several tokens a call."""

from collections import Counter
from itertools import pairwise

import pytest
from fake_executor import FakeExecutor, limits, request, state_of

from ms_omni import OmniError
from ms_omni.scheduling.scheduler import Scheduler


class Engine:
    """A scheduler and an executor, stepped by hand."""

    def __init__(self, **settings):
        self.executor = FakeExecutor(limits(**settings))
        self.scheduler = Scheduler(self.executor.limits)
        self.handles = {}

    def add(self, seed, arrival=None, **what):
        state, self.handles[seed] = state_of(request(seed=seed, **what), seed if arrival is None else arrival)
        self.scheduler.add(state)
        return state

    def step(self):
        """The name, seeds and details of the step that was done; None at the end."""
        step = self.scheduler.next_step()
        if step is None:
            return None
        step.run(self.executor)
        for state in step.states:
            if state.is_finished:
                state.finish()
                self.executor.release(state)
                self.scheduler.remove(state)
        return self.executor.steps[-1]

    def run(self):
        return list(iter(self.step, None))

    def is_empty(self):
        limits = self.executor.limits
        whole = {stage: limits.num_owners * (pool.num_blocks - 1) for stage, pool in limits.pools.items()}
        return self.scheduler.free_blocks == whole


def test_steps_of_one_spoken_answer():
    """Alone: four tokens a call, and up to four frames before the next."""
    engine = Engine()
    engine.add(1, prompt=23, new=9, frames=6, talker_stop=False)
    assert engine.run() == [
        ("start thinker", (1,)),
        ("prefill thinker", (1,), (0, 10)),
        ("prefill thinker", (1,), (10, 20)),
        ("prefill thinker", (1,), (20, 23)),
        ("thinker", (1,), 4),
        ("start talker", (1,)),
        ("thinker", (1,), 4),
        ("prefill talker", (1,), (0, 10)),
        ("prefill talker", (1,), (10, 20)),
        ("prefill talker", (1,), (20, 26)),
        ("talker", (1,)),
        ("talker", (1,)),
        *[("code2wav", (1,), 2), ("talker", (1,)), ("talker", (1,))] * 2,
        ("code2wav", (1,), 2),
    ]
    output = engine.handles[1].result(0)
    assert len(output.token_ids) == 9 and output.audio.num_frames == 6 and output.audio.finish_reason == "length"
    assert engine.is_empty() and not engine.scheduler.states


def test_the_first_frames_come_while_the_text_is_made():
    engine = Engine(prefill_chunk=40)
    engine.add(1, prompt=5, new=40, frames=30)
    names = [step[0] for step in engine.run()]
    assert names[:10] == ["start thinker", "prefill thinker", "start talker", "prefill talker", "thinker"] + [
        "talker", "talker", "code2wav", "talker", "talker",
    ]  # fmt: skip
    assert "thinker" in names[10:]


def test_a_round_of_several():
    """Frames, pieces that are due, one token each."""
    engine = Engine(max_num_seqs=3)
    engine.add(1, new=50, frames=40)
    while engine.step()[0] != "talker":
        pass
    engine.add(2, new=50, frames=40)
    engine.add(3, prompt=35, new=50)
    while engine.step() != ("thinker", (1, 2, 3), 1):
        pass
    kinds = ("talker", "code2wav", "thinker")
    names = [engine.step()[0] for _ in range(40)]
    for kind, after in pairwise(names):  # in their order, each at most once a round
        assert (kinds.index(after) > kinds.index(kind)) == (kind != "thinker")
    assert ("talker", (1, 2)) in engine.executor.steps


def test_several_tokens_a_call_only_for_one_that_runs_alone():
    engine = Engine(max_num_seqs=2)
    engine.add(1, new=60)
    for _ in range(3):
        engine.step()
    assert engine.step() == ("thinker", (1,), 4)
    engine.add(2, prompt=3, new=4)
    steps = engine.run()
    num_steps = [step[2] for step in steps if step[0] == "thinker"]
    together = num_steps.count(1)
    assert together >= 3 and num_steps == [1] * together + [4] * (len(num_steps) - together)


def test_a_long_prompt_stops_the_others_for_one_chunk_at_a_time():
    engine = Engine()
    engine.add(1, new=200, frames=150)
    while engine.step()[0] != "talker":
        pass
    engine.add(2, prompt=95, new=5)
    names = [step[0] for step in engine.run()]
    places = [place for place, name in enumerate(names) if name.endswith("thinker") and name != "thinker"]
    assert len(places) == 11  # start, and ten chunks
    for place, after in pairwise(places):
        assert {"thinker", "talker"} <= set(names[place:after])


def test_short_prompts_share_a_round():
    """Ten tokens of prompts a round: a start counts as its prompt."""
    engine = Engine(max_num_seqs=8)
    for seed in range(1, 4):
        engine.add(seed, prompt=3, new=9)
    steps = engine.run()
    assert steps[:8] == [
        ("start thinker", (1,)),
        ("start thinker", (2,)),
        ("prefill thinker", (1,), (0, 3)),
        ("thinker", (1,), 1),
        ("start thinker", (3,)),
        ("prefill thinker", (2, 3), (0, 3), (0, 3)),
        ("thinker", (1, 2, 3), 1),
        ("thinker", (1, 2, 3), 1),
    ]


def test_prompts_are_read_together():
    """The Thinker gets ready one request at a time, the Talker all at once."""
    engine = Engine(max_num_seqs=8, prefill_chunk=200)
    for seed in range(1, 4):
        engine.add(seed, prompt=5 + seed, new=9, frames=6)
    steps = engine.run()
    assert steps[:7] == [
        *[("start thinker", (seed,)) for seed in (1, 2, 3)],
        ("prefill thinker", (1, 2, 3), (0, 6), (0, 7), (0, 8)),
        ("start talker", (1, 2, 3)),
        ("prefill talker", (1, 2, 3), (0, 9), (0, 10), (0, 11)),
        ("thinker", (1, 2, 3), 1),
    ]


def test_those_that_come_during_a_prefill_speak_with_the_first():
    """They join its round, and their prompts are read before its Talker's."""
    engine = Engine(max_num_seqs=8, prefill_chunk=500)
    engine.add(1, prompt=5, new=9, frames=6)
    assert [engine.step()[0] for _ in range(2)] == ["start thinker", "prefill thinker"]
    for seed in (2, 3):
        engine.add(seed, prompt=5, new=9, frames=6)
    assert [step[:2] for step in engine.run()[:6]] == [
        *[("start thinker", (seed,)) for seed in (2, 3)],
        ("prefill thinker", (2, 3)),
        ("start talker", (1, 2, 3)),
        ("prefill talker", (1, 2, 3)),
        ("thinker", (1, 2, 3)),
    ]


def test_those_that_come_do_not_put_off_the_firsts_speech():
    """Its Talker's prompt is in the same round, with only as many of theirs as leave room for it."""
    engine = Engine(max_num_seqs=8, prefill_chunk=50)
    engine.add(1, prompt=5, new=9, frames=6)
    assert [engine.step()[0] for _ in range(2)] == ["start thinker", "prefill thinker"]
    for seed in range(2, 6):
        engine.add(seed, prompt=5, new=9, frames=6)
    assert [engine.step() for _ in range(6)] == [
        *[("start thinker", (seed,)) for seed in (2, 3)],
        ("prefill thinker", (2, 3), (0, 5), (0, 5)),
        ("start talker", (1,)),
        ("prefill talker", (1,), (0, 8)),
        ("thinker", (1, 2, 3), 1),
    ]


def test_a_prompt_that_has_begun_is_not_held_up_by_those_that_come():
    engine = Engine(max_num_seqs=50, num_blocks=5000)
    engine.add(0, prompt=40, new=3)
    engine.step()
    for seed in range(1, 30):
        engine.add(seed, prompt=3, new=3)
    read = [step for step in engine.run() if step[0] == "prefill thinker"]
    assert [step[1] for step in read[:4]] == [(0,)] * 4


def test_removed_before_its_prompt_is_read():
    engine = Engine(max_num_seqs=8, prefill_chunk=200)
    states = [engine.add(seed, new=9) for seed in range(3)]
    assert engine.step() == ("start thinker", (0,))
    engine.executor.release(states[0])
    engine.scheduler.remove(states[0])
    engine.scheduler.remove(states[1])
    assert [engine.step() for _ in range(2)] == [("start thinker", (2,)), ("prefill thinker", (2,), (0, 12))]


def test_the_earlier_prompt_is_read_first():
    engine = Engine()
    engine.add(1, prompt=30, new=3)
    engine.add(2, prompt=30, new=3)
    prefills = [step[1][0] for step in engine.run() if step[0] == "prefill thinker"]
    assert prefills == [1, 1, 1, 2, 2, 2]


def test_first_come_first_served():
    """By arrival, whoever is prepared first; nobody overtakes one that waits for room."""
    engine = Engine(num_blocks=26, max_num_seqs=3)  # 25 blocks of 4 tokens
    engine.add(1, prompt=40, new=10)  # 40 + 9 + 3 positions: 13 blocks
    engine.add(3, prompt=40, new=10)
    engine.add(4, prompt=4, new=2)
    engine.add(2, prompt=40, new=7)  # 49: 13 blocks, one too many
    begun = [step[1][0] for step in engine.run() if step[0] == "start thinker"]
    assert begun == [1, 2, 3, 4]
    first = [next(i for i, step in enumerate(engine.executor.steps) if step[1] == (seed,)) for seed in (2, 3)]
    done = [max(i for i, step in enumerate(engine.executor.steps) if seed in step[1]) for seed in (1, 2)]
    assert first[0] > done[0] and first[1] > done[1] and engine.is_empty()


def test_no_more_run_than_may():
    engine = Engine(max_num_seqs=2)
    for seed in range(6):
        engine.add(seed, new=10)
    sizes = Counter(len(step[1]) for step in engine.run() if step[0] == "thinker")
    assert max(sizes) == 2 and sizes[2] > sizes[1]


def test_a_complete_text_gives_its_cache_back_while_it_is_spoken():
    engine = Engine(num_blocks=11, talker_blocks=200)
    engine.add(1, prompt=20, new=10, frames=60, talker_stop=False)
    engine.add(2, prompt=20, new=10)
    steps = engine.run()
    names = [(step[0], 2 in step[1]) for step in steps]
    assert names.index(("start thinker", True)) < len(names) - 1 - names[::-1].index(("talker", False))


def test_removed_in_the_middle_of_a_round():
    engine = Engine()
    states = [engine.add(seed, new=30, frames=20) for seed in (1, 2)]
    while engine.step() != ("talker", (1, 2)):
        pass
    engine.executor.release(states[0])
    engine.scheduler.remove(states[0])
    assert all(step[1] == (2,) for step in engine.run()) and engine.is_empty()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        # 30 + 20 - 1 positions, and 3 more that the last call writes
        ({"prompt": 30, "new": 20}, r"--thinker-max-new-tokens 20: with a prompt of 30 tokens the Thinker's keys and "
         r"values need 1300 bytes \(0.0 GiB\), all of its cache has 1200 bytes \(0.0 GiB\); lower it, or shorten"),
        ({"prompt": 5, "new": 2, "frames": 50}, r"--talker-max-new-tokens 51: with a prompt of 8 tokens the Talker's "
         r"keys and values need 150 bytes \(0.0 GiB\), all of its cache has 120 bytes"),
    ],
)  # fmt: skip
def test_what_can_never_fit_is_refused(what, message):
    engine = Engine(num_blocks=13)
    with pytest.raises(OmniError, match=message):
        engine.add(1, **what)
    assert not engine.scheduler.states
    engine.add(2, prompt=30, new=16)  # the longest
    engine.run()
    assert len(engine.handles[2].result(0).token_ids) == 16


def test_more_requests_than_blocks_are_refused():
    with pytest.raises(
        OmniError, match=r"--max-num-seqs 9: the Thinker's cache has 800 bytes .*enough for 8 of the sh"
    ):
        Scheduler(limits(num_blocks=9, max_num_seqs=9))


def test_each_belongs_to_the_owner_of_fewest_that_has_room():
    """Each owner has 20 blocks of 4 tokens for text, 12 for speech."""
    engine = Engine(num_blocks=21, talker_blocks=13, max_num_seqs=8, num_owners=3, prefill_chunk=100)
    long = engine.add(0, prompt=60, new=14)  # 76 positions: 19 blocks
    others = [engine.add(seed, prompt=20, new=20) for seed in (1, 2, 3, 4)]  # 42 positions: 11 blocks
    engine.add(5, prompt=5, new=2, frames=40)  # 9 and 47 positions: 3 and 12 blocks
    engine.add(6, prompt=5, new=2, frames=1)  # 3 blocks each
    engine.step()
    # Of equals the first; the fourth has room nowhere, and nobody overtakes it
    assert [state.owner for state in (long, *others[:2])] == [0, 1, 2]
    assert engine.scheduler.num_waiting == 4
    assert engine.scheduler.free_blocks == {"thinker": 3 * 20 - 19 - 2 * 11, "talker": 3 * 12}
    engine.run()
    assert engine.is_empty() and all(len(engine.handles[seed].result(0).token_ids) for seed in range(7))


def test_both_sequences_have_room_with_one_owner():
    """The first owner has most room for text and none for speech."""
    engine = Engine(talker_blocks=13, max_num_seqs=8, num_owners=2, prefill_chunk=100)
    first = engine.add(0, prompt=5, new=50, frames=40)  # 12 blocks for speech
    second = engine.add(1, prompt=5, new=50)
    third = engine.add(2, prompt=5, new=50)
    speaks = engine.add(3, prompt=5, new=50, frames=1)
    engine.step()
    assert [state.owner for state in (first, second, third, speaks)] == [0, 1, 0, 1]
    for state in (second, third):
        engine.scheduler.remove(state)
    late = engine.add(4, prompt=5, new=50, frames=20)  # both owners have one request, the first no room for speech
    engine.run()
    assert late.owner == 1 and engine.is_empty()


def test_owners_have_more_room_together_but_no_longer_conversations():
    settings = {"num_blocks": 3, "num_owners": 2, "max_num_seqs": 4}
    engine = Engine(**settings)
    with pytest.raises(OmniError, match=r"--thinker-max-new-tokens 6: .* need 300 bytes .* all of its cache has 200"):
        engine.add(1, prompt=1, new=6)
    seeds = [engine.add(seed, prompt=1, new=1) for seed in range(4)]
    engine.step()
    assert [state.owner for state in seeds] == [0, 1, 0, 1] and engine.scheduler.free_blocks["thinker"] == 0
    with pytest.raises(OmniError, match="--max-num-seqs 5: .* 400 bytes .* enough for 4 of the shortest"):
        Engine(**settings | {"max_num_seqs": 5})
