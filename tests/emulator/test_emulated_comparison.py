"""Emulated comparisons, logic, where and masked fill against Python's operators, and their limits."""

import math
import operator

import numpy as np
import pytest
from ascend_emulator.device_tensor import (
    BFLOAT16,
    BOOL,
    COMPLEX64,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT16,
)
from emulated_calls import call, empty, exact, refused, tensor

DTYPES = (FLOAT32, FLOAT16, BFLOAT16, FLOAT64, INT64, INT32, INT8, UINT8)
LEFT, RIGHT = [[1, 2, 3], [4, 5, 6]], [[2, 2, 2]]
COMPARISONS = {
    "Eq": operator.eq,
    "Ne": operator.ne,
    "Gt": operator.gt,
    "Ge": operator.ge,
    "Lt": operator.lt,
    "Le": operator.le,
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison(name):
    compare = COMPARISONS[name]
    wanted = [[compare(x, 2) for x in row] for row in LEFT]
    for dtype in DTYPES:
        out = empty((2, 3), BOOL)
        call(f"aclnn{name}Tensor", self=tensor(LEFT, dtype), other=tensor(RIGHT, dtype), out=out)
        assert out.array.tolist() == wanted
        if name in ("Eq", "Ne", "Ge"):
            out = empty((2, 3), BOOL)
            call(f"aclnn{name}Scalar", self=tensor(LEFT, dtype), other=2, out=out)
            assert out.array.tolist() == wanted
        out = empty((3, 2), FLOAT16)  # True is 1 in another dtype
        call(f"aclnn{name}Tensor", self=tensor(np.array(LEFT, dtype).T), other=tensor(2, dtype), out=out)
        assert exact(out).T.tolist() == [[float(x) for x in row] for row in wanted]
    nothing = empty((0,), BOOL)
    call(f"aclnn{name}Tensor", self=tensor([], FLOAT32), other=tensor(2, FLOAT32), out=nothing)
    out = empty((), BOOL)
    nan = tensor(math.nan, FLOAT32)
    call(f"aclnn{name}Tensor", self=nan, other=nan, out=out)
    assert bool(out.array) == compare(math.nan, math.nan)


def test_operands_are_compared_in_their_promoted_dtype():
    out = empty((1,), BOOL)
    call("aclnnEqTensor", self=tensor([2049], INT64), other=tensor([2048], FLOAT16), out=out)
    assert out.array.tolist() == [True]  # 2049 is 2048 in float16
    call("aclnnEqTensor", self=tensor([2**53 + 1], INT64), other=tensor([2**53], INT64), out=out)
    assert out.array.tolist() == [False]


def test_logic():
    left, right = [0.0, 0.0, -2.0, math.nan], [0.0, 3.0, 0.0, 1.0]
    wanted = {"And": [0, 0, 0, 1], "Or": [0, 1, 1, 1], "Xor": [0, 1, 1, 0]}
    for name, result in wanted.items():
        out = empty((4,), BOOL)
        call(f"aclnnLogical{name}", self=tensor(left, BFLOAT16), other=tensor(right, BFLOAT16), out=out)
        assert out.array.astype(int).tolist() == result
    with refused("dtype uint16"):
        call("aclnnLogicalAnd", self=tensor([1], UINT16), other=tensor([1], UINT16), out=empty((1,), BOOL))


def test_limits_of_comparisons():
    one, out = tensor([1.0], FLOAT32), empty((1,), BOOL)
    with refused("dtype complex64"):
        call("aclnnLtTensor", self=tensor([1j], COMPLEX64), other=one, out=out)
    with refused("dtype uint16"):
        call("aclnnEqTensor", self=tensor([1], UINT16), other=tensor([1], UINT16), out=out)
    with refused("no common dtype"):
        call("aclnnLtTensor", self=tensor([1], UINT16), other=one, out=out)
    with refused("other: dtype uint16"):
        call("aclnnEqScalar", self=one, other=np.uint16(1), out=out)
    with refused("dtype uint16"):
        call("aclnnNeTensor", self=one, other=one, out=empty((1,), UINT16))
    with refused("do not broadcast"):
        call("aclnnGeTensor", self=tensor([1, 2, 3]), other=tensor([1, 2]), out=empty((3,), BOOL))
    with refused("expected the broadcast shape"):
        call("aclnnGeTensor", self=one, other=one, out=empty((1, 1), BOOL))
    with refused("at most 8 dimensions"):
        call("aclnnGeScalar", self=tensor(np.ones((1,) * 9), FLOAT32), other=0, out=empty((1,) * 9, BOOL))


def test_where():
    for dtype in (*DTYPES, BOOL):
        condition = tensor([[True], [False]], BOOL)
        out = empty((2, 2), dtype)
        call("aclnnSWhere", condition=condition, self=tensor([1, 0], dtype), other=tensor(1, dtype), out=out)
        assert exact(out).tolist() == [[1, 0], [1, 1]]
    out = empty((2,), FLOAT32)  # promoted from both
    call("aclnnSWhere", condition=tensor([1, 0], UINT8), self=tensor([7], INT32), other=tensor(0.5, FLOAT32), out=out)
    assert out.array.tolist() == [7, 0.5]
    with refused("dtype int32"):
        call("aclnnSWhere", condition=tensor([1], INT32), self=tensor(1), other=tensor(1), out=empty((1,), INT64))
    with refused("expected the broadcast shape"):
        call("aclnnSWhere", condition=tensor([True]), self=tensor(1), other=tensor(1), out=empty((2,), INT64))


def test_masked_fill():
    mask = tensor([[True, False, True]])
    for dtype in (FLOAT32, FLOAT16, BFLOAT16, INT32, INT64, INT8, BOOL):
        filled = tensor(np.zeros((2, 3)), dtype, "selfRef")
        value = np.bool_(True) if dtype == BOOL else 1
        call("aclnnInplaceMaskedFillScalar", selfRef=filled, mask=mask, value=value)
        assert exact(filled).tolist() == [[1, 0, 1]] * 2
        call("aclnnInplaceMaskedFillTensor", selfRef=filled, mask=mask, value=tensor(0, dtype))
        assert not exact(filled).any()
    low = tensor([[1.0, 2.0, 3.0]], FLOAT16, "selfRef")
    call("aclnnInplaceMaskedFillScalar", selfRef=low, mask=mask, value=np.float64(-math.inf))
    assert low.array.tolist() == [[-math.inf, 2, -math.inf]]
    with refused("value: dtype float32, not convertible"):
        call("aclnnInplaceMaskedFillScalar", selfRef=tensor([[1, 2, 3]], INT32), mask=mask, value=0.5)
    with refused("dtype int16"):
        call("aclnnInplaceMaskedFillScalar", selfRef=tensor([[1, 2, 3]], INT16), mask=mask, value=0)
    with refused("dtype uint8"):
        call("aclnnInplaceMaskedFillScalar", selfRef=low, mask=tensor([1, 0, 1], UINT8), value=0)
    with refused("allowed: 0 dimensions"):
        call("aclnnInplaceMaskedFillTensor", selfRef=low, mask=mask, value=tensor([1], FLOAT16))
    with refused("expected the broadcast shape"):
        call("aclnnInplaceMaskedFillScalar", selfRef=low, mask=tensor([[True], [True]]), value=0)
