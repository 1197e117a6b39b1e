"""What the hooks cost: nothing while nobody watches, little while somebody does."""

import time

import pytest

from ms_omni import SamplingParams
from ms_omni.profiling.clock import StageClock
from ms_omni.profiling.counters import Counters
from ms_omni.profiling.sides import EngineSide
from ms_omni.profiling.task import Task
from ms_omni.stages import mark, stage, watched_by

SAMPLING = SamplingParams(
    thinker_max_new_tokens=33, talker_max_new_tokens=9, thinker_temperature=0.0, talker_temperature=0.0, ignore_eos=True
)
TEXT = [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}]
TASK = Task("hello", TEXT, SAMPLING, speech=True)
CALLS = 2000


def seconds_a_hook():
    """Of one stage with one mark; the least of some tries."""
    tries = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(CALLS):
            with stage("thinker_decode"):
                mark("thinker_tokens")
        tries.append((time.perf_counter() - start) / CALLS)
    return min(tries)


def test_hooks_beside_the_work_between_them(fused):
    """The tiny model's steps take a millisecond, the least that there is."""
    side = EngineSide.of("fused", fused)
    side.answer(TASK)
    measured = side.answer(TASK)
    hooks = len(measured.spans) + sum(len(events) for events in measured.marks.values())
    assert hooks > 30
    assert hooks * seconds_a_hook() < 0.001 * measured.wall_s
    counters = Counters()
    clock = StageClock(time.perf_counter, lambda: None, counters.read)
    with watched_by(clock):
        clock.start()
        watched_s = seconds_a_hook()
    assert hooks * watched_s < 0.03 * measured.wall_s


@pytest.mark.slow
def test_answers_take_as_long_watched_as_not(fused):
    """In turns; the least of many. Time that this thread computes, and that of the threads beside it is the same: so
    another process may take the cores meanwhile."""
    options = TASK.options | {"first_chunk_frames": 4, "chunk_frames": 25}
    counters = Counters()

    def answer():
        return fused.generate(TEXT, **options)

    def answer_watched():  # what EngineSide.answer adds while its clock runs
        with counters.counting():
            return StageClock(time.perf_counter, lambda: None, counters.read).watch(answer)

    ways = (answer, answer_watched)
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(3):  # more of them where the machine is busy
        for way, seconds in [*zip(ways, taken, strict=True)] * 15:
            start = time.thread_time()
            way()
            seconds.append(time.thread_time() - start)
        plain, watched = map(min, taken)
        if watched < 1.03 * plain:
            break
    assert watched < 1.03 * plain, (plain, watched)
