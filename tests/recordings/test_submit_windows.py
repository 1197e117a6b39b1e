"""Windows asked together from a thread: their order, how many at a time, and how they end."""

import threading
from contextlib import closing
from threading import Semaphore

import numpy as np
import pytest

from ms_omni.inputs.windows import Span, Window
from ms_omni.outputs import OmniOutput, StreamEnd, TextDelta, Usage
from ms_omni.recordings.submit_windows import submit_windows
from ms_omni.scheduling.request import RequestCancelled, RequestHandle


def windows(count):
    return iter([Window(np.zeros(1, np.float32), Span(float(i), i + 1.0)) for i in range(count)])


class Engine:
    """Answers each window with its start, later ones sooner, and counts those under way. The first answers wait until
    `at_once` windows are under way; from window `silent` on there are none."""

    def __init__(self, fails=(), at_once=1, silent=9999):
        self.fails, self.at_once, self.silent = fails, at_once, silent
        self.running, self.most, self.handles = 0, 0, []
        self._lock, self._so_many = threading.Lock(), threading.Event()

    def submit(self, window):
        handle, start = RequestHandle(), window.span.start
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
            if self.running >= self.at_once:
                self._so_many.set()
        self.handles.append(handle)
        handle.add_done_callback(self._ended)
        if start < self.silent:
            threading.Timer(0.03 / (1 + start % 4), self._answer, (handle, start)).start()
        return handle

    def _answer(self, handle, start):
        self._so_many.wait(60)
        if start in self.fails:
            handle.fail(ValueError(f"window {start:g}"))
            return
        handle.put(TextDelta(f"{start:g}", ()))
        handle.put(TextDelta("!", ()))
        handle.finish(OmniOutput(f"{start:g}!", (), "stop", Usage(0, 0)))

    def _ended(self, handle):
        with self._lock:
            self.running -= 1


def told(answers):
    return [(span.start, chunk.text) for span, chunk in answers if isinstance(chunk, TextDelta)]


def free(turns, count):
    return [turns.acquire(blocking=False) for _ in range(count + 1)] == [True] * count + [False]


def test_in_order_and_several_at_a_time():
    engine, turns = Engine(at_once=3), Semaphore(3)
    answers = list(submit_windows(windows(20), engine.submit, turns))
    assert told(answers) == [(float(i), text) for i in range(20) for text in (str(i), "!")]
    assert [chunk.output.text for _, chunk in answers if isinstance(chunk, StreamEnd)] == [f"{i}!" for i in range(20)]
    assert engine.most == 3 and engine.running == 0 and free(turns, 3)


def test_recordings_share_the_turns():
    engine, turns, heard = Engine(at_once=2), Semaphore(2), []
    threads = [
        threading.Thread(target=lambda: heard.append(told(submit_windows(windows(6), engine.submit, turns))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [len(one) for one in heard] == [12, 12, 12] and engine.most == 2 and free(turns, 2)


def test_an_error_comes_in_its_place_and_ends_the_others():
    engine, turns, heard = Engine(fails=(2.0,)), Semaphore(3), []
    with pytest.raises(ValueError, match="window 2"):
        for span, _ in submit_windows(windows(500), engine.submit, turns):
            heard.append(span.start)
    assert heard == [0, 0, 0, 1, 1, 1] and len(engine.handles) < 80
    assert engine.running == 0 and free(turns, 3)


@pytest.mark.parametrize("of", ["recording", "engine"])
def test_an_error_before_a_window_is_asked_comes_behind_what_was_heard(of):
    def broken():
        yield from windows(2)
        if of == "recording":
            raise ValueError("corrupt")
        yield from windows(1)

    engine, turns, heard = Engine(), Semaphore(3), []

    def submit(window):
        if len(engine.handles) == 2:
            raise ValueError("corrupt")
        return engine.submit(window)

    with pytest.raises(ValueError, match="corrupt"):
        for span, _ in submit_windows(broken(), submit, turns):
            heard.append(span.start)
    assert heard == [0, 0, 0, 1, 1, 1] and free(turns, 3)


@pytest.mark.parametrize("after", [1, 4])
def test_closing_cancels_all(after):
    engine, turns = Engine(silent=2), Semaphore(3)
    with closing(submit_windows(windows(1000), engine.submit, turns)) as answers:
        for _ in range(after):
            next(answers)
    assert engine.running == 0 and free(turns, 3)
    assert any(isinstance(handle.error, RequestCancelled) for handle in engine.handles)


def test_answers_that_wait_are_not_without_number():
    """The first window is slow: not all others are read meanwhile."""
    first, handles, read = RequestHandle(), [], []

    def count():
        for window in windows(5000):
            read.append(window)
            yield window

    def submit(window):
        handle = RequestHandle() if handles else first
        handles.append(handle)
        if handle is not first:
            handle.finish(OmniOutput("", (), "stop", Usage(0, 0)))
        return handle

    answers = submit_windows(count(), submit, Semaphore(4))
    threading.Timer(0.3, first.finish, (OmniOutput("", (), "stop", Usage(0, 0)),)).start()
    next(answers)
    assert len(read) <= 65
    answers.close()
