"""MindSpore on the emulated card: its pool's blocks are guarded, and a missing wait shows when streams run late."""

import numpy as np
import pytest
import runtime_calls as acl
from ascend_emulator import trace
from runtime_calls import in_process

INNER_ERROR = 561000


@pytest.fixture
def block(ascend):
    """A tensor of MindSpore's, and its address."""
    import mindspore as ms

    made = ms.Tensor(np.arange(6, dtype=np.float32)) * 2
    ms.runtime.synchronize()
    yield made, made.data_ptr()


def test_a_tensor_lies_in_a_block_of_the_pool(block):
    _made, address = block
    out = acl.malloc(24)
    assert acl.negate(acl.tensor(address, (6,)), acl.tensor(out, (6,))) == 0, acl.message()
    assert acl.to_host(out, (6,)).tolist() == [-0.0, -2.0, -4.0, -6.0, -8.0, -10.0]


def test_a_tensor_that_mindspore_has_freed_is_used_after_free_and_poisoned(ascend):
    import mindspore as ms

    made = ms.Tensor(np.arange(6, dtype=np.float32)) * 2
    ms.runtime.synchronize()
    address, out = made.data_ptr(), acl.malloc(24)
    del made
    ms.runtime.synchronize()
    assert acl.negate(acl.tensor(address, (6,)), acl.tensor(out, (6,))) == INNER_ERROR
    assert "argument 0, shape (6)" in (message := acl.message()) and "use after free" in message
    values = np.empty(6, np.float32)
    assert acl.copy(values.ctypes.data, address, 24, acl.TO_HOST) != 0
    assert "source: use after free" in acl.message()
    assert np.isnan(np.frombuffer((acl.ctypes.c_char * 24).from_address(address), np.float32)).all()


def test_a_tensor_must_end_inside_its_block(block):
    _, address = block
    out = acl.malloc(1 << 20)
    large = 1 << 17
    assert acl.negate(acl.tensor(address, (large,)), acl.tensor(out, (large,))) == INNER_ERROR
    assert "cross the end of a block" in acl.message()


def test_an_uninitialised_tensor_is_nan(ascend):
    import mindspore as ms
    from mindspore import mint

    kept = mint.empty((3, 1 << 20), dtype=ms.float32)
    ms.runtime.synchronize()
    assert np.isnan(acl.to_host(kept.data_ptr(), (16,))).all()


def test_operators_of_eager_code_and_of_a_graph_are_counted(ascend):
    import mindspore as ms
    from mindspore import mint

    def three_times(x):
        return mint.add(mint.add(x, x), x)

    x = ms.Tensor(np.arange(6, dtype=np.float32))
    graph = ms.jit(three_times, jit_level="O0")
    for function in (three_times, graph):
        assert function(x).asnumpy().tolist() == [0, 3, 6, 9, 12, 15]
        trace.reset()
        function(x).asnumpy()
        assert trace.launches() == {"aclnn aclnnAdd": 2}


def test_an_error_of_an_operator_reaches_python(ascend):
    import mindspore as ms
    from mindspore import mint

    with pytest.raises(RuntimeError, match="aclnnIndexSelect"):
        mint.index_select(ms.Tensor(np.ones((2, 3), np.float32)), 0, ms.Tensor([7], ms.int64)).asnumpy()


PROGRAM = """
import mindspore as ms
ms.set_device("Ascend")
y = (ms.Tensor(np.arange(6, dtype=np.float32)) + 1) * 2
address = y.data_ptr()  # waits for MindSpore's threads, not for the card
if wait:
    ms.runtime.synchronize()
print(acl.to_host(address, (6,)).tolist())
print(y.asnumpy().tolist())
"""


@pytest.mark.parametrize("wait", [False, True])
def test_a_missing_wait_shows_when_streams_run_late(wait):
    early, waited = in_process(f"wait = {wait}" + PROGRAM, EMULATED_LATE="1").splitlines()[-2:]
    right = [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert waited == str(right)
    assert early == (str(right) if wait else str([float("nan")] * 6))


def test_more_memory_than_the_card_has_is_refused():
    code = """
import mindspore as ms
from mindspore import mint
from ms_omni.runtime.card import start_card
ms.set_device("Ascend")
start_card()  # not in the thread that launches and in this one at once
kept = []
error = None
while len(kept) < 10 and error is None:
    try:
        kept.append(mint.empty((128 << 20,), dtype=ms.float32))
        ms.runtime.synchronize()
    except RuntimeError as raised:
        error = str(raised)
print(f"\\n{len(kept)} pieces, then {error!r}")  # MindSpore writes to stdout, too
"""
    written = in_process(code, EMULATED_MEMORY_GB="4")
    held, _, end = next(line for line in written.splitlines() if " pieces, " in line).partition(" pieces, then ")
    assert "memory" in end, written
    assert 4 <= int(held) <= 8, end  # of 512 MiB each
