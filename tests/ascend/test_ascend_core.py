"""The emulated runtime itself, called as MindSpore calls it: what CANN refuses is refused, with a reason."""

import numpy as np
import pytest
import runtime_calls as acl
from ascend_emulator import trace
from runtime_calls import C, in_process

MEMORY_ALLOCATION = 207001
INVALID_DEVICE = 107001
NOT_EMULATED = 561003
INVALID_PARAMETER = 161002
INNER_ERROR = 561000


@pytest.fixture
def pair():
    """A tensor of ones in device memory, and one for a result."""
    source, out = acl.to_device(np.ones((2, 3), np.float32)), acl.malloc(24)
    yield acl.tensor(source, (2, 3)), acl.tensor(out, (2, 3)), source, out
    for address in (source, out):
        acl.free(address)


def test_an_operator_computes(pair):
    source, out, _, address = pair
    assert acl.negate(source, out) == 0, acl.message()
    assert (acl.to_host(address, (2, 3)) == -1).all()


def test_new_memory_is_nan_in_every_float_and_no_index(pair):
    address = acl.malloc(64)
    for dtype in ("float16", "float32", "float64"):
        assert np.isnan(acl.to_host(address, (8,), dtype)).all()
    assert np.isnan((acl.to_host(address, (8,), "uint16").astype(np.uint32) << 16).view(np.float32)).all()  # bfloat16
    assert (acl.to_host(address, (8,), "int32") > 1 << 30).all()
    acl.free(address)


def test_large_memory_is_poisoned_and_costs_nothing_until_it_is_written():
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    address = acl.malloc(8 << 30)
    for place in (0, 5 << 30, (8 << 30) - 4):
        assert np.isnan(acl.to_host(address + place, (1,)))
    acl.to_device(np.full(1, 7, np.float32), address + (5 << 30))
    assert acl.to_host(address + (5 << 30), (1,)) == 7
    assert acl.free(address) == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def test_use_after_free_names_operator_and_argument(pair):
    _, out, _source, _ = pair
    gone = acl.malloc(24)
    used = acl.tensor(gone, (2, 3))
    acl.free(gone)
    assert acl.negate(used, out) == INNER_ERROR
    message = acl.message()
    assert message.startswith("aclnnNeg: argument 0, shape (2, 3)") and "use after free" in message


def test_a_tensor_must_end_inside_its_allocation(pair):
    source, _, address, _ = pair
    assert acl.negate(source, acl.tensor(address + 4, (2, 3))) == INNER_ERROR
    assert "aclnnNeg: argument 1" in (message := acl.message())
    assert "24 bytes from byte 4 cross the end of an allocation of 24 bytes" in message


def test_an_address_of_the_host_is_no_device_memory(pair):
    _, out, _, _ = pair
    values = np.ones((2, 3), np.float32)
    assert acl.negate(acl.tensor(values.ctypes.data, (2, 3)), out) == INNER_ERROR
    assert "outside of any allocation" in acl.message()


def test_copies_are_checked_by_their_direction(pair):
    _, _, address, _ = pair
    values = np.ones((2, 3), np.float32)
    assert acl.copy(address, values.ctypes.data, 24, acl.ON_DEVICE) != 0
    assert "copy device to device of 24 bytes, source: outside of any allocation" in acl.message()
    assert acl.copy(address, values.ctypes.data, 28, acl.TO_DEVICE) != 0
    assert "destination: 28 bytes from byte 0 cross the end" in acl.message()


def test_memory_ends():
    out = in_process(
        """
import ctypes
free, total = ctypes.c_size_t(), ctypes.c_size_t()
info = lambda: C.aclrtGetMemInfo(1, ctypes.byref(free), ctypes.byref(total)) or (free.value >> 20, total.value >> 20)
print(*info())
kept = acl.malloc(700 << 20)
print(*info())
address = ctypes.c_void_p()
print(C.aclrtMalloc(ctypes.byref(address), ctypes.c_size_t(400 << 20), 0), acl.message())
acl.free(kept)
print(C.aclrtMalloc(ctypes.byref(address), ctypes.c_size_t(400 << 20), 0))
""",
        EMULATED_MEMORY_GB="1",
    ).splitlines()
    assert out[:2] == ["1024 1024", "324 1024"]
    reason = f"aclrtMalloc: {400 << 20} bytes asked for, {324 << 20} of {1 << 30} are free"
    assert out[2] == f"{MEMORY_ALLOCATION} {reason}"
    assert out[3] == "0"


@pytest.mark.parametrize(
    ("soc", "name", "gigabytes"),
    [("", "Ascend910B2", 64), ("910B4", "Ascend910B4", 32), ("Ascend910_9392", "Ascend910_9392", 64)],
)
def test_cards_by_name(soc, name, gigabytes):
    code = """
import ctypes
C.aclrtGetSocName.restype = ctypes.c_char_p
free, total = ctypes.c_size_t(), ctypes.c_size_t()
C.aclrtGetMemInfo(1, ctypes.byref(free), ctypes.byref(total))
from ascend_emulator.cards import series
print(C.aclrtGetSocName().decode(), total.value >> 30, series())
"""
    series = "A3" if "9392" in name else "A2"
    assert in_process(code, EMULATED_SOC=soc, EMULATED_MEMORY_GB="").split() == [name, str(gigabytes), series]


def test_cards_are_counted():
    code = "print(C.aclrtSetDevice(1), C.aclrtSetDevice(2), acl.message())"
    out = in_process(code, EMULATED_CARDS="2").split(maxsplit=2)
    assert out[:2] == ["0", str(INVALID_DEVICE)]
    assert "card 2, there are 2 (EMULATED_CARDS)" in out[2]


def test_the_host_says_how_many_cores_it_is_told_to_have():
    assert in_process("print(C.get_nprocs())", EMULATED_CORES="24").strip() == "24"


def test_settings_are_those_that_the_process_began_with():
    # getenv finds nothing, or crashes, while another thread calls setenv, as MindSpore's do
    code = "C.unsetenv(b'EMULATED_CORES'); print(C.get_nprocs())"
    assert in_process(code, EMULATED_CORES="24").strip() == "24"


def test_an_unknown_operator_fails_by_name():
    prepared = acl.Prepared("aclnnGridSampler3DBackward")
    assert prepared.status == NOT_EMULATED
    assert acl.message() == (
        "aclnn aclnnGridSampler3DBackward is not emulated: add it to tests/ascend_emulator (docs/emulator.md)"
    )


def test_another_number_of_arguments_is_refused_with_both_counts(pair):
    source, out, _, _ = pair
    assert acl.Prepared("aclnnNeg", source, out, source, out).status == INNER_ERROR
    assert "called with 4 arguments" in (message := acl.message()) and "CANN's header has 2: (self, out)" in message
    assert acl.Prepared("aclnnNeg", source).status == INNER_ERROR
    assert "called with 1 arguments" in acl.message()


def test_a_dtype_that_is_not_documented_is_refused(pair):
    _, _, address, _ = pair
    wrong = acl.tensor(address, (2, 3), "bool")
    assert acl.Prepared("aclnnNeg", wrong, wrong).status == INVALID_PARAMETER
    assert "self: dtype bool, allowed: float32" in acl.message()


def test_a_workspace_must_be_there_and_large_enough():
    values = np.arange(4, dtype=np.float32)[::-1].copy()
    source, out, order = acl.to_device(values), acl.malloc(16), acl.malloc(32)

    def prepared():
        tensors = acl.tensor(out, (4,)), acl.tensor(order, (4,), "int64")
        return acl.Prepared("aclnnSort", acl.tensor(source, (4,)), True, acl.c_int64(0), False, *tensors)

    sort = prepared()
    assert sort.status == 0 and sort.workspace_bytes > 0, acl.message()
    workspace = acl.malloc(sort.workspace_bytes)
    assert sort.launch(workspace=workspace) == 0, acl.message()
    assert acl.to_host(out, (4,)).tolist() == [0, 1, 2, 3]
    assert np.isnan(acl.to_host(workspace, (1,)))  # it was overwritten
    assert prepared().launch(workspace=workspace, workspace_bytes=8) == INNER_ERROR
    assert "workspace of 8 bytes given" in acl.message()
    acl.free(workspace)
    assert prepared().launch(workspace=workspace) == INNER_ERROR
    assert "use after free" in acl.message()


def test_counts_of_what_was_done(pair):
    source, out, address, _ = pair
    trace.reset()
    acl.negate(source, out)
    acl.negate(source, out)
    C.aclrtSynchronizeDevice()
    acl.to_host(address, (2, 3))
    assert trace.launches() == {"aclnn aclnnNeg": 2}
    assert trace.counts()["synchronize device"] == 1
    assert trace.num_bytes()["copy device to host"] == 24


def test_trace_and_summary(tmp_path):
    import json

    code = """
source, out = acl.to_device(np.ones((2, 3), np.float32)), acl.malloc(24)
stream = acl.new_stream()
acl.call("aclnnAdds", acl.tensor(source, (2, 3)), acl.scalar(2), acl.scalar(3), acl.tensor(out, (2, 3)), stream=stream)
C.aclrtSynchronizeStream(stream)
print(acl.to_host(out, (1,))[0])
"""
    assert in_process(code, EMULATED_TRACE=str(tmp_path / "trace"), RANK_ID="3").strip() == "7.0"
    lines = [json.loads(line) for line in (tmp_path / "trace.rank3").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["copy", "launch", "synchronize", "copy"]
    launch = lines[1]
    assert (launch["kind"], launch["name"]) == ("aclnn", "aclnnAdds")
    assert launch["self"] == {"dtype": "float32", "shape": [2, 3]} and float(launch["other"]) == 2


def test_summary_at_the_end():
    code = """
import sys, os
os.dup2(1, 2)
acl.to_device(np.ones((2, 3), np.float32))
"""
    lines = in_process(code, EMULATED_SUMMARY="1").splitlines()
    assert lines[0].endswith("summary") and lines[1].split(maxsplit=1) == ["1", "copy host to device, 24 bytes"]
