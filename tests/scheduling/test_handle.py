"""What whoever asked sees: pieces, the end, progress, waiting, cancelling."""

import queue
import threading
import time

import numpy as np
import pytest

from ms_omni.outputs import AudioChunk, OmniOutput, StreamEnd, TextDelta, Usage
from ms_omni.scheduling import request as module
from ms_omni.scheduling.request import RequestCancelled, RequestHandle, StepFailed

OUTPUT = OmniOutput("Hi", (1, 2), "stop", Usage(3, 2))
DELTAS = [TextDelta("H", (1,)), AudioChunk(np.zeros(4, np.float32)), TextDelta("i", (2,))]


def answered():
    handle = RequestHandle()
    for delta in DELTAS:
        handle.put(delta)
    handle.finish(OUTPUT)
    return handle


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_pieces_in_order_then_the_end():
    handle = answered()
    assert list(handle) == [*DELTAS, StreamEnd(OUTPUT)] and handle.done
    assert list(handle) == [StreamEnd(OUTPUT)]  # pieces are given once
    assert handle.result() is handle.result(0) is OUTPUT


def test_the_result_takes_no_pieces_from_a_reader():
    handle = answered()
    assert handle.result() is OUTPUT and list(handle)[:-1] == DELTAS


def test_readers_wait_for_what_comes():
    handle, seen = RequestHandle(), []
    reader = in_thread(lambda: seen.extend(handle))
    waiter = in_thread(lambda: seen.append(handle.result()))
    for delta in DELTAS:
        handle.put(delta)
        time.sleep(0.01)
    handle.finish(OUTPUT)
    for thread in (reader, waiter):
        thread.join(60)
    assert [item for item in seen if item is not OUTPUT] == [*DELTAS, StreamEnd(OUTPUT)] and OUTPUT in seen


def test_an_error_comes_behind_the_pieces_before_it():
    handle = RequestHandle()
    handle.put(DELTAS[0])
    handle.fail(StepFailed("internal error in a talker step: ValueError: bad"))
    handle.put(DELTAS[1])  # too late
    handle.finish(OUTPUT)
    reader = iter(handle)
    assert next(reader) is DELTAS[0]
    with pytest.raises(StepFailed, match="ValueError: bad"):
        next(reader)
    with pytest.raises(StepFailed):
        handle.result()


def test_timeout():
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer within 0.05 s"):
        RequestHandle().result(timeout=0.05)
    assert time.monotonic() - start > 0.04


def test_cancel_ends_a_request_once():
    handle = RequestHandle()

    def wait():
        with pytest.raises(RequestCancelled):
            handle.result()

    waiter = in_thread(wait)
    handle.cancel()
    waiter.join(60)
    assert handle.done and not waiter.is_alive()
    finished = answered()
    finished.cancel()
    assert finished.result() is OUTPUT


def test_who_waits_for_many_is_told_of_each():
    ended, handles = queue.SimpleQueue(), [RequestHandle() for _ in range(3)]
    for handle in handles:
        handle.add_done_callback(ended.put)
    handles[2].finish(OUTPUT)
    handles[0].cancel()
    handles[0].fail(StepFailed())  # too late
    assert [ended.get(timeout=1) for _ in range(2)] == [handles[2], handles[0]] and ended.empty()
    handles[2].add_done_callback(ended.put)
    assert ended.get(timeout=1) is handles[2]


def test_closing_the_iterator_cancels_and_reading_to_the_end_does_not():
    handle = RequestHandle()
    handle.put(DELTAS[0])
    for _ in handle:
        break
    with pytest.raises(RequestCancelled):
        handle.result(0)


def test_progress_is_called_by_who_reads_and_is_complete_before_the_end():
    seen = []
    handle = RequestHandle(lambda *count: seen.append((threading.get_ident(), *count)))
    for done in (1, 2):
        handle.count("thinker", done, 5)
    assert not seen
    waiter = in_thread(lambda: handle.finish(OUTPUT))
    handle.result()
    waiter.join()
    assert seen == [(threading.get_ident(), "thinker", done, 5) for done in (1, 2)]


def test_an_error_in_progress_is_the_readers():
    def fail(*count):
        raise ZeroDivisionError

    handle = RequestHandle(fail)
    handle.count("thinker", 1, 5)
    with pytest.raises(ZeroDivisionError):
        next(iter(handle))
    assert handle.done


def test_ctrl_c_ends_the_wait(monkeypatch):
    """Even where the signal's own thread is another one and nothing wakes the main thread."""
    import _thread

    monkeypatch.setattr(module, "SIGNAL_CHECK_S", 0.05)
    timer = threading.Timer(0.1, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        RequestHandle().result(timeout=60)
    timer.join()


def test_pieces_are_taken_without_waiting_and_a_listener_is_told_of_each():
    handle, told = RequestHandle(), []
    handle.listen(lambda handle: told.append(handle.take()))
    assert told == [[]]
    handle.put(TextDelta("a", (1,)))
    handle.put(TextDelta("b", (2,)))
    handle.finish(OUTPUT)
    assert [type(piece) for pieces in told for piece in pieces] == [TextDelta, TextDelta, StreamEnd]
    assert handle.take()[0].output is handle.result()


def test_taking_from_a_request_that_failed_raises_what_ended_it():
    handle = RequestHandle()
    pieces = [TextDelta("a", (1,)), TextDelta("b", (2,))]
    for piece in pieces:
        handle.put(piece)
    handle.cancel()
    assert handle.take() == pieces
    with pytest.raises(RequestCancelled):
        handle.take()
