"""Captured work (aclmdlRI*): recorded and not run, run again with the values of that moment, and what CANN refuses."""

import ctypes

import numpy as np
import pytest
import runtime_calls as acl
from ascend_emulator import trace
from runtime_calls import C

STREAM_CAPTURED, STREAM_NOT_CAPTURED, NOT_WHILE_CAPTURING = 107027, 107029, 107030


@pytest.fixture
def card():
    """A stream, a tensor of ones, and one for a result."""
    stream = acl.new_stream()
    source, out = acl.to_device(np.ones((2, 3), np.float32)), acl.malloc(24)
    yield stream, source, out
    status = ctypes.c_int()
    model = ctypes.c_void_p()
    C.aclmdlRICaptureGetInfo(stream, ctypes.byref(status), None)
    if status.value:
        C.aclmdlRICaptureEnd(stream, ctypes.byref(model))


def negate(source, out, stream):
    return acl.negate(acl.tensor(source, (2, 3)), acl.tensor(out, (2, 3)), stream)


def end(stream):
    model = ctypes.c_void_p()
    assert C.aclmdlRICaptureEnd(stream, ctypes.byref(model)) == 0, acl.message()
    return model


def test_recorded_work_runs_only_when_it_is_executed(card):
    stream, source, out = card
    assert C.aclmdlRICaptureBegin(stream, 0) == 0
    assert negate(source, out, stream) == 0
    model = end(stream)
    assert np.isnan(acl.to_host(out, (2, 3))).all()
    trace.reset()
    for value in (1, 4):
        acl.to_device(np.full((2, 3), value, np.float32), source)
        assert C.aclmdlRIExecuteAsync(model, stream) == 0
        C.aclrtSynchronizeStream(stream)
        assert (acl.to_host(out, (2, 3)) == -value).all()
    assert trace.counts()["replayed aclnn aclnnNeg"] == 2 and trace.launches() == {}
    assert trace.counts()["capture execute"] == 2
    assert C.aclmdlRIDestroy(model) == 0


def test_copies_and_fills_are_recorded(card):
    stream, source, out = card
    C.aclmdlRICaptureBegin(stream, 0)
    assert acl.copy(out, source, 24, acl.ON_DEVICE, stream) == 0
    assert C.aclrtMemsetAsync(ctypes.c_void_p(out), ctypes.c_size_t(24), 0, ctypes.c_size_t(8), stream) == 0
    model = end(stream)
    assert np.isnan(acl.to_host(out, (2, 3))).all()
    assert C.aclmdlRIExecuteAsync(model, stream) == 0
    assert acl.to_host(out, (6,)).tolist() == [0, 0, 1, 1, 1, 1]


def test_a_stream_that_waits_for_an_event_joins_the_capture(card):
    stream, source, out = card
    other, event = acl.new_stream(), acl.new_event()
    C.aclmdlRICaptureBegin(stream, 0)
    C.aclrtRecordEvent(event, stream)
    C.aclrtStreamWaitEvent(other, event)
    assert negate(source, out, other) == 0
    model = end(stream)
    assert np.isnan(acl.to_host(out, (2, 3))).all()
    C.aclmdlRIExecuteAsync(model, stream)
    assert (acl.to_host(out, (2, 3)) == -1).all()
    assert C.aclrtSynchronizeStream(other) == 0  # it is its own again


def test_waiting_on_a_captured_stream_is_refused(card):
    stream, _, _ = card
    C.aclmdlRICaptureBegin(stream, 0)
    assert C.aclrtSynchronizeStream(stream) == STREAM_CAPTURED
    assert C.aclrtSynchronizeDevice() == STREAM_CAPTURED
    assert "being captured" in acl.message()


def test_a_copy_that_waits_is_refused_while_a_stream_is_captured(card):
    stream, source, out = card
    C.aclmdlRICaptureBegin(stream, 0)
    assert acl.copy(out, source, 24, acl.ON_DEVICE) == NOT_WHILE_CAPTURING


def test_a_legacy_operator_is_refused_on_a_captured_stream(card):
    stream, _, _ = card
    C.aclmdlRICaptureBegin(stream, 0)
    status = C.aclopCompileAndExecute(b"Cast", 0, None, None, 0, None, None, None, 0, 0, None, stream)
    assert status == NOT_WHILE_CAPTURING
    assert acl.message() == "aclop Cast on a captured stream"


def test_captures_begin_and_end_once(card):
    stream, _, _ = card
    assert C.aclmdlRICaptureEnd(stream, ctypes.byref(ctypes.c_void_p())) == STREAM_NOT_CAPTURED
    assert C.aclmdlRICaptureBegin(stream, 0) == 0
    assert C.aclmdlRICaptureBegin(stream, 0) == STREAM_CAPTURED


def test_memory_that_was_freed_after_the_capture_is_found_at_the_execution(card):
    stream, source, _ = card
    gone = acl.malloc(24)
    C.aclmdlRICaptureBegin(stream, 0)
    negate(source, gone, stream)
    model = end(stream)
    acl.free(gone)
    assert C.aclmdlRIExecuteAsync(model, stream) != 0
    assert "aclnnNeg: argument 1" in (message := acl.message()) and "use after free" in message


def test_mindspore_captures_a_graph_and_replays_it():
    import json
    import subprocess
    import sys
    from pathlib import Path

    program = Path(__file__).with_name("captured_graph.py")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    calls = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert all(call["error"] < 0.01 for call in calls)  # float16
    assert "capture begin" not in calls[0] and calls[0]["internal Matmul"] == 1
    assert calls[1]["capture begin"] == calls[1]["capture end"] == calls[1]["capture execute"] == 1
    for call in calls[2:]:
        assert call["capture execute"] == call["replayed internal Matmul"] == 1 and "internal Matmul" not in call
