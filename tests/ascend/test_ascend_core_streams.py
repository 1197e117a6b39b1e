"""Streams that run late: whoever forgets to wait sees old values."""

from runtime_calls import in_process

PRELUDE = """
import time
stream, other = acl.new_stream(), acl.new_stream()
ones = acl.to_device(np.ones((2, 3), np.float32))
out, out2 = acl.malloc(24), acl.malloc(24)
negate = lambda a, b, stream: acl.negate(acl.tensor(a, (2, 3)), acl.tensor(b, (2, 3)), stream)
first = lambda address: float(acl.to_host(address, (2, 3))[0, 0])
"""


def late(code: str, milliseconds: int = 60_000) -> list[str]:
    """What the code prints where work that nobody waits for runs after so long, or, for 1, after 200 ms."""
    return in_process(PRELUDE + code, EMULATED_LATE=str(milliseconds)).split()


def test_work_runs_when_somebody_waits():
    code = """
negate(ones, out, stream)
print(first(out))
C.aclrtSynchronizeStream(stream)
print(first(out))
"""
    assert late(code) == ["nan", "-1.0"]
    assert in_process(PRELUDE + code).split() == ["-1.0", "-1.0"]  # not late


def test_work_runs_although_nobody_waits():
    code = """
negate(ones, out, stream)
deadline = time.monotonic() + 60
while np.isnan(first(out)) and time.monotonic() < deadline:
    time.sleep(0.01)
print(first(out))
"""
    assert late(code, 1) == ["-1.0"]


def test_the_device_waits_for_all_streams():
    assert late("negate(ones, out, stream); C.aclrtSynchronizeDevice(); print(first(out))") == ["-1.0"]


def test_another_stream_must_wait_for_an_event():
    code = """
event = acl.new_event()
negate(ones, out, stream)
C.aclrtRecordEvent(event, stream)
if wait:
    C.aclrtStreamWaitEvent(other, event)
negate(out, out2, other)
C.aclrtSynchronizeStream(other)
print(first(out2))
"""
    assert late("wait = False" + code) == ["nan"]
    assert late("wait = True" + code) == ["1.0"]


def test_an_event_is_not_ready_before_it_is_waited_for():
    code = """
import ctypes
event, status = acl.new_event(), ctypes.c_int()
negate(ones, out, stream)
C.aclrtRecordEvent(event, stream)
C.aclrtQueryEventStatus(event, ctypes.byref(status)); print(status.value)
C.aclrtSynchronizeEvent(event)
C.aclrtQueryEventStatus(event, ctypes.byref(status)); print(status.value, first(out))
"""
    assert late(code) == ["0", "1", "-1.0"]


def test_page_locked_memory_is_read_and_written_late():
    code = """
import gc
values, back = acl.page_locked((6,)), acl.page_locked((6,))
values[:], back[:] = 5, 0
acl.copy(out, values.ctypes.data, 24, acl.TO_DEVICE, stream)
values[:] = 6  # too early
acl.copy(back.ctypes.data, out, 24, acl.TO_HOST, stream)
print(back[0])
C.aclrtSynchronizeStream(stream)
print(back[0])
"""
    assert late(code) == ["0.0", "6.0"]


def test_other_memory_of_the_host_may_be_reused_at_once():
    code = """
values, back = np.full(6, 5, np.float32), np.zeros(6, np.float32)
acl.copy(out, values.ctypes.data, 24, acl.TO_DEVICE, stream)
values[:] = 6
acl.copy(back.ctypes.data, out, 24, acl.TO_HOST, stream)
print(back[0])
"""
    assert late(code) == ["5.0"]


def test_arguments_may_be_destroyed_after_the_launch():
    code = """
a, b = acl.tensor(ones, (2, 3)), acl.tensor(out, (2, 3))
scalar = acl.scalar(4)
acl.call("aclnnAdds", a, scalar, scalar, b, stream=stream)
C.aclDestroyTensor(a), C.aclDestroyTensor(b), C.aclDestroyScalar(scalar)
C.aclrtSynchronizeStream(stream)
print(first(out))
"""
    assert late(code) == ["17.0"]


def test_a_thread_that_waits_lets_others_have_the_interpreter():
    """MindSpore waits in C++, where nobody has given the interpreter's lock up for it."""
    code = """
import ctypes
holding = ctypes.PyDLL(None)
negate(ones, out, stream)
holding.aclrtSynchronizeStream(stream)
print(first(out))
"""
    assert late(code) == ["-1.0"]


def test_a_failure_is_told_to_whoever_waits():
    code = """
acl.copy(ones, ones, 24, acl.ON_DEVICE, stream)
index = acl.to_device(np.array([9], np.int64))
print(acl.call("aclnnIndexSelect", acl.tensor(ones, (2, 3)), acl.c_int64(0), acl.tensor(index, (1,), "int64"),
               acl.tensor(out, (1, 3)), stream=stream) if not needs else "")
print(C.aclrtSynchronizeStream(stream) != 0, C.aclrtSynchronizeStream(stream))
"""
    code = code.replace("acl.call(", "launched(").replace(' if not needs else ""', "")
    launched = """
def launched(name, *arguments, stream):
    prepared = acl.Prepared(name, *arguments)
    assert prepared.status == 0, acl.message()
    workspace = acl.malloc(max(prepared.workspace_bytes, 1))
    return prepared.launch(stream, workspace)
"""
    assert late(launched + code) == ["0", "True", "0"]


def test_freed_memory_is_poisoned_once_nothing_is_queued():
    code = """
other_out = acl.malloc(24)
negate(ones, out, stream)
acl.free(ones)  # waits, as CANN does
print(first(out))
"""
    assert late(code) == ["-1.0"]
