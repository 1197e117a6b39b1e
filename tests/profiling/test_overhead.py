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
    """Of this thread's time, one stage with one mark takes; the least of some tries."""
    tries = []
    for _ in range(5):
        start = time.thread_time()
        for _ in range(CALLS):
            with stage("thinker_decode"):
                mark("thinker_tokens")
        tries.append((time.thread_time() - start) / CALLS)
    return min(tries)


@pytest.mark.slow  # a bar of time
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
