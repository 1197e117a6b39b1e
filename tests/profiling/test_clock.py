"""Stage times on a clock that the test moves."""

import threading

import pytest

from ms_omni.profiling.clock import WALL, StageClock
from ms_omni.stages import StageSequence, mark, stage


class Device:
    """A clock, a device that is a moment behind, and two gauges."""

    def __init__(self):
        self.now, self.pending, self.gauges = 100.0, 0.0, {"reads": 7}

    def synchronize(self):
        self.now += self.pending
        self.pending = 0.0


@pytest.fixture
def device():
    return Device()


@pytest.fixture
def clock(device):
    return StageClock(lambda: device.now, device.synchronize, lambda: dict(device.gauges))


def test_own_time_spans_marks_and_counts(device, clock):
    def work():
        device.now += 1
        with stage("thinker_decode"):
            device.now += 2
            device.gauges["reads"] += 3
            with stage("compile"):
                device.now += 4
                device.gauges["reads"] += 1
                device.gauges["new"] = 5
            device.now += 8
            mark("thinker_tokens", 4)
        device.now += 16
        with stage("thinker_decode"):
            device.now += 32
        mark("thinker_tokens")
        return "answer"

    assert clock.watch(work) == "answer"
    device.now += 64
    assert clock.stop() == 127
    assert clock.own_s == {WALL: 1 + 16 + 64, "thinker_decode": 2 + 8 + 32, "compile": 4}
    assert clock.counts == {
        WALL: {"reads": 0, "new": 0},
        "thinker_decode": {"reads": 3, "new": 0},
        "compile": {"reads": 1, "new": 5},
    }
    assert clock.marks == {"thinker_tokens": [(15, 4), (63, 1)]}
    assert [(s.stage, s.start_s, s.end_s, s.depth) for s in clock.spans] == [
        ("compile", 3, 7, 1),
        ("thinker_decode", 1, 15, 0),
        ("thinker_decode", 31, 63, 0),
    ]


def test_a_stage_ends_when_the_device_has_done_its_work(device, clock):
    def work():
        with stage("encoders"):
            device.pending += 5  # asked for, and still to be done when the stage's last line is reached
        with stage("code2wav"):
            device.now += 1

    clock.watch(work)
    assert clock.stop() == 6
    assert clock.own_s == {WALL: 0, "encoders": 5, "code2wav": 1}


def test_work_before_the_question_does_not_count(device, clock):
    device.pending = 50
    device.gauges["reads"] += 50
    clock.watch(lambda: None)
    assert clock.stop() == 0
    assert clock.counts == {WALL: {"reads": 0}}


def on_another_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_what_is_read_beside_the_devices_work_takes_no_time_of_its_own(device, clock):
    """A reader begins before a step and ends within it; another one has the time alone for a while."""
    began, may_end = threading.Event(), threading.Event()

    def read():
        with stage("media"):
            device.now += 1
            began.set()
            may_end.wait(60)

    def work():
        reader = threading.Thread(target=read)
        reader.start()
        began.wait(60)
        with stage("thinker_decode"):
            device.now += 2
            device.gauges["reads"] += 3
            may_end.set()
            reader.join()
            device.now += 4
        device.now += 8
        on_another_thread(lambda: step(16))

    def step(seconds):
        with stage("processor"):
            device.now += seconds

    clock.watch(work)
    assert clock.stop() == 31
    assert clock.own_s == {WALL: 8, "media": 1, "thinker_decode": 6, "processor": 16}
    assert clock.counts["thinker_decode"] == {"reads": 3}
    media, decode = clock.spans[:2]
    assert (media.start_s, media.end_s, media.thread, media.depth) == (0, 3, 0, 0)
    assert (decode.start_s, decode.end_s, decode.thread, decode.depth) == (1, 7, 1, 0)


def test_a_reader_does_not_wait_for_the_device(device, clock):
    waits = []
    clock._synchronize = lambda: waits.append(1)
    clock.watch(lambda: on_another_thread(lambda: stage("media").__enter__()))
    assert len(waits) == 1  # at the start


def test_turns_follow_each_other_and_the_last_one_stays(device, clock):
    def work():
        with StageSequence("thinker_prefill", "thinker_decode") as turns:
            for _ in range(3):
                device.now += 1
                turns.turn()
            device.now += 10

    clock.watch(work)
    clock.stop()
    assert clock.own_s == {WALL: 0, "thinker_prefill": 1, "thinker_decode": 12}


def test_an_error_ends_its_stages(device, clock):
    def work():
        with StageSequence("thinker_prefill", "thinker_decode"), stage("encoders"):
            device.now += 2
            raise ValueError

    with pytest.raises(ValueError):
        clock.watch(work)
    device.now += 1
    assert clock.stop() == 3
    assert clock.own_s == {WALL: 1, "thinker_prefill": 0, "encoders": 2}


def test_nobody_hears_outside_of_a_watch(device, clock):
    with stage("encoders"):
        mark("thinker_tokens")
    clock.watch(lambda: None)
    with stage("encoders"):
        mark("thinker_tokens")
    assert clock.spans == [] and clock.marks == {}
