"""Emulated element-wise operators against Python's math on every value, on edge shapes, and their limits."""

import math

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
    INT32,
    INT64,
    UINT8,
    UINT16,
)
from emulated_calls import assert_near, call, empty, exact, refused, tensor

REALS = (FLOAT32, FLOAT16, BFLOAT16, FLOAT64)
VALUES = (-2.5, -1.0, -0.5, 0.0, 0.25, 0.5, 1.5, 2.5, 3.0, 11.0)
POSITIVE = (0.25, 0.5, 1.0, 1.5, 2.5, 7.0)


def edge_shapes(values, dtype, name="x"):
    """No dimensions, empty, a matrix, a view with strides, one that is transposed."""
    line = np.array([values[i % len(values)] for i in range(24)])
    plain = tensor(line.reshape(4, 6), dtype, name)
    yield tensor(values[-1], dtype, name)
    yield tensor(np.zeros((0, 3)), dtype, name)
    yield plain
    yield tensor(plain.array[:, 1::2], None, name)
    yield tensor(plain.array.T, None, name)


def per_value(formula, *arrays):
    """A Python function of floats on every value, after broadcasting."""
    together = np.broadcast_arrays(*arrays)
    flat = [formula(*row) for row in zip(*(array.reshape(-1).tolist() for array in together), strict=True)]
    return np.array(flat, np.float64).reshape(together[0].shape)


UNARY = {
    "Neg": (lambda x: -x, VALUES),
    "Exp": (math.exp, VALUES),
    "Log": (math.log, POSITIVE),
    "Sqrt": (math.sqrt, POSITIVE),
    "Rsqrt": (lambda x: 1 / math.sqrt(x), POSITIVE),
    "Sin": (math.sin, VALUES),
    "Cos": (math.cos, VALUES),
    "Reciprocal": (lambda x: 1 / x, POSITIVE),
    "Floor": (math.floor, VALUES),
    "Ceil": (math.ceil, VALUES),
    "LogicalNot": (lambda x: x == 0, VALUES),
}


@pytest.mark.parametrize("dtype", REALS, ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    formula, values = UNARY[name]
    for given in edge_shapes(values, dtype):
        wanted, out = per_value(formula, exact(given)), empty(given.shape, dtype)
        parameters = {"self": given, "out": out}
        call(f"aclnn{name}", **parameters)
        assert_near(out, wanted)
        if name in ("Exp", "Log", "Floor"):
            copy = tensor(given.array.copy(), None, "selfRef")
            call(f"aclnnInplace{name}", selfRef=copy)
            assert_near(copy, wanted)


@pytest.mark.parametrize("dtype", (FLOAT32, FLOAT16, BFLOAT16), ids=str)
@pytest.mark.parametrize("name, formula", [("Tanh", math.tanh), ("Trunc", math.trunc)])
def test_unary_without_doubles(name, formula, dtype):
    for given in edge_shapes(VALUES, dtype):
        out = empty(given.shape, dtype)
        call(f"aclnn{name}", self=given, out=out)
        assert_near(out, per_value(formula, exact(given)))
    with refused("dtype float64"):
        call(f"aclnn{name}", self=tensor([1.0], FLOAT64), out=empty((1,), FLOAT64))


def test_erf_takes_bfloat16_on_a3_cards_alone(monkeypatch):
    for dtype in (FLOAT32, FLOAT16, FLOAT64):
        given, out = tensor(VALUES, dtype), empty((len(VALUES),), dtype)
        call("aclnnErf", self=given, out=out)
        assert_near(out, per_value(math.erf, exact(given)))
    given, out = tensor(VALUES, BFLOAT16), empty((len(VALUES),), BFLOAT16)
    monkeypatch.setenv("EMULATED_SOC", "Ascend910B2")
    with refused("self: dtype bfloat16|x: dtype bfloat16"):
        call("aclnnErf", self=given, out=out)
    monkeypatch.setenv("EMULATED_SOC", "Ascend910_9392")
    call("aclnnErf", self=given, out=out)
    assert_near(out, per_value(math.erf, exact(given)))


def test_integers_become_reals_where_the_result_is_real():
    for dtype in (INT8, INT32, INT64, UINT8, BOOL):
        out = empty((2,), FLOAT32)
        call("aclnnSqrt", self=tensor([0, 1], dtype), out=out)
        assert out.array.tolist() == [0, 1]
    with refused("dtype int32"):  # Exp lists BOOL and INT64 alone of the integers
        call("aclnnExp", self=tensor([1], INT32), out=empty((1,), FLOAT32))
    out = empty((1,), FLOAT16)
    call("aclnnExp", self=tensor([1], INT64), out=out)
    assert_near(out, np.array([math.e]))


def test_absolute_sign_and_tests_of_values():
    out = empty((3,), INT8)
    call("aclnnAbs", self=tensor([-3, 0, 127], INT8), out=out)
    assert out.array.tolist() == [3, 0, 127]
    with refused("expected int8"):
        call("aclnnAbs", self=tensor([-3], INT8), out=empty((1,), INT32))
    out = empty((2,), FLOAT32)
    call("aclnnAbs", self=tensor([3 + 4j, -1j], COMPLEX64), out=out)
    assert out.array.tolist() == [5, 1]
    out = empty((3,), INT32)
    call("aclnnSign", self=tensor([-7, 0, 9], INT32), out=out)
    assert out.array.tolist() == [-1, 0, 1]
    values = tensor([1.0, math.inf, -math.inf, math.nan], BFLOAT16)
    finite, infinite = empty((4,), BOOL), empty((4,), BOOL)
    call("aclnnIsFinite", self=values, out=finite)
    call("aclnnIsInf", self=values, out=infinite)
    assert finite.array.tolist() == [True, False, False, False]
    assert infinite.array.tolist() == [False, True, True, False]
    with refused("dtype int32"):
        call("aclnnIsFinite", self=tensor([1], INT32), out=empty((1,), BOOL))
    inverted = empty((3,), UINT8)
    call("aclnnBitwiseNot", self=tensor([0, 1, 255], UINT8), out=inverted)
    assert inverted.array.tolist() == [255, 254, 0]


def test_unary_limits():
    with refused("at most 8 dimensions"):
        call("aclnnSin", self=tensor(np.ones((1,) * 9), FLOAT32), out=empty((1,) * 9, FLOAT32))
    with refused(r"shape \(2,\), expected \(3,\)"):
        call("aclnnSin", self=tensor([1, 2, 3], FLOAT32), out=empty((2,), FLOAT32))
    with refused("expected that of"):
        call("aclnnFloor", self=tensor([1.5], FLOAT32), out=empty((1,), FLOAT16))
    with refused("dtype float32|dtype int32"):
        call("aclnnNeg", self=tensor([1.5], FLOAT32), out=empty((1,), INT32))
    with refused("results of dtype complex64 are not converted"):
        call("aclnnSqrt", self=tensor([1j], COMPLEX64), out=empty((1,), FLOAT32))
    with refused("dtype uint16"):
        call("aclnnNeg", self=tensor([1], UINT16), out=empty((1,), UINT16))


BINARY = {
    "Maximum": max,
    "Minimum": min,
    "Mul": lambda x, y: x * y,
    "Div": lambda x, y: x / y,
    "FloorDivide": lambda x, y: math.floor(x / y),
    "RemainderTensorTensor": lambda x, y: x - math.floor(x / y) * y,
}
RIGHT = (2.0, -4.0, 0.5, 1.0, -0.25)


@pytest.mark.parametrize("dtype", REALS, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, dtype):
    right = tensor(np.resize(RIGHT, (6,)), dtype, "other")
    for given in edge_shapes(VALUES, dtype):
        other = right if given.shape == (4, 6) else tensor(2.0, dtype, "other")
        out = empty(given.shape, dtype)
        call(f"aclnn{name}", self=given, other=other, out=out)
        assert_near(out, per_value(BINARY[name], exact(given), exact(other)))


@pytest.mark.parametrize("name, sign", [("Add", 1), ("Sub", -1)])
def test_sums_with_alpha_in_four_forms(name, sign):
    for dtype in (*REALS, INT32, INT64, INT8):
        left, right = tensor([[1, 2, 3]], dtype), tensor([[4], [5]], dtype, "other")
        wanted = np.array([[1, 2, 3]]) + sign * 2 * np.array([[4], [5]])
        out = empty((2, 3), dtype)
        call(f"aclnn{name}", self=left, other=right, alpha=2, out=out)
        assert exact(out).tolist() == wanted.tolist()
        out = empty((1, 3), dtype)
        call(f"aclnn{name}s", self=left, other=5, alpha=2, out=out)
        assert exact(out).tolist() == (exact(left) + sign * 10).tolist()
        ref = tensor(np.ones((2, 3)), dtype, "selfRef")
        call(f"aclnnInplace{name}", selfRef=ref, other=right, alpha=2)
        assert exact(ref).tolist() == (1 + sign * 2 * np.broadcast_to([[4], [5]], (2, 3))).tolist()
        call(f"aclnnInplace{name}s", selfRef=ref, other=-1, alpha=1)
        assert exact(ref).tolist() == (1 + sign * 2 * np.broadcast_to([[4], [5]], (2, 3)) - sign).tolist()


def test_integers_wrap_and_bools_are_logical():
    for dtype, largest in ((INT8, 127), (INT32, 2**31 - 1), (INT64, 2**63 - 1)):
        out = empty((1,), dtype)
        call("aclnnAdd", self=tensor([largest], dtype), other=tensor([1], dtype), alpha=1, out=out)
        assert out.array.tolist() == [-largest - 1]
    truth = [False, False, True, True], [False, True, False, True]
    for name, wanted in (("Add", [False, True, True, True]), ("Sub", [False, True, True, False])):
        out = empty((4,), BOOL)
        call(f"aclnn{name}", self=tensor(truth[0]), other=tensor(truth[1]), alpha=1, out=out)
        assert out.array.tolist() == wanted
    out = empty((4,), BOOL)
    call("aclnnMul", self=tensor(truth[0]), other=tensor(truth[1]), out=out)
    assert out.array.tolist() == [False, False, False, True]


PROMOTIONS = [
    (FLOAT16, BFLOAT16, FLOAT32),
    (FLOAT16, INT64, FLOAT16),
    (BFLOAT16, FLOAT32, FLOAT32),
    (FLOAT32, FLOAT64, FLOAT64),
    (INT8, UINT8, np.dtype(np.int16)),
    (INT32, INT64, INT64),
    (BOOL, INT32, INT32),
    (INT64, COMPLEX64, COMPLEX64),
]


@pytest.mark.parametrize("one, other, result", PROMOTIONS, ids=str)
def test_promotion(one, other, result):
    for left, right in ((one, other), (other, one)):
        out = empty((1,), result)
        call("aclnnMul", self=tensor([1], left), other=tensor([1], right), out=out)
        assert out.array.tolist() == [1]


def test_promotion_keeps_what_the_wider_dtype_holds():
    fine, coarse = 1 + 2.0**-10, 1 + 2.0**-7  # no bfloat16 holds the first; their product takes float32
    out = empty((1,), FLOAT32)
    call("aclnnMul", self=tensor([fine], FLOAT16), other=tensor([coarse], BFLOAT16), out=out)
    assert out.array.tolist() == [fine * coarse]
    out = empty((1,), np.dtype(np.int16))
    call("aclnnMul", self=tensor([-1], INT8), other=tensor([200], UINT8), out=out)
    assert out.array.tolist() == [-200]


def test_halves_are_rounded_once_though_two_steps_are_taken():
    """1 + 3 x in bfloat16 with x = 0.33: 3 x is no bfloat16, and rounding it first gives another result."""
    for dtype in (FLOAT16, BFLOAT16):
        values = tensor(np.linspace(0.3, 0.4, 50), dtype)
        out = empty((50,), dtype)
        call("aclnnAdd", self=tensor(-1, dtype), other=values, alpha=3, out=out)
        wanted = (3 * exact(values) - 1).astype(np.float32).astype(dtype)
        assert exact(out).tolist() == wanted.astype(np.float64).tolist()
        rounded_twice = (3 * values.array.astype(np.float32)).astype(dtype).astype(np.float32) - 1
        assert rounded_twice.astype(dtype).tolist() != wanted.tolist()


def test_promotion_rounds_an_integer_before_a_half_multiplies_it():
    out = empty((1,), FLOAT32)
    call("aclnnMul", self=tensor([2049], INT64), other=tensor([1], FLOAT16), out=out)
    assert out.array.tolist() == [2048]  # 2049 is no float16


def test_quotients_by_mode():
    left, right = [7, -7, 7, -7, 1], [2, 2, -2, -2, 2]
    wanted = {0: [3.5, -3.5, -3.5, 3.5, 0.5], 1: [3, -3, -3, 3, 0], 2: [3, -4, -4, 3, 0]}
    for mode, result in wanted.items():
        for dtype in (FLOAT32, FLOAT16, BFLOAT16, INT32):
            out = empty((5,), FLOAT32 if dtype == INT32 else dtype)
            call("aclnnDivMod", self=tensor(left, dtype), other=tensor(right, dtype), mode=mode, out=out)
            assert exact(out).tolist() == result
    out = empty((5,), INT64)
    call("aclnnDivMods", self=tensor(left, INT64), other=2, mode=1, out=out)
    assert out.array.tolist() == [3, -3, 3, -3, 0]
    with refused("mode: 3"):
        call("aclnnDivMod", self=tensor(left, INT32), other=tensor(right, INT32), mode=3, out=empty((5,), FLOAT32))
    with refused("complex"):
        call("aclnnDivMod", self=tensor([1j]), other=tensor([1j]), mode=1, out=empty((1,), np.complex128))


def test_remainders_of_integers():
    left, right = [-1, -2, -3, -4, 5], [-3, -3, -3, 3, 0]
    out = empty((5,), INT64)
    call("aclnnRemainderTensorTensor", self=tensor(left, INT64), other=tensor(right, INT64), out=out)
    assert out.array.tolist() == [-1, -2, 0, 2, 5]  # the last by 0 gives self, as documented
    out = empty((4,), FLOAT32)
    call("aclnnRemainderTensorScalar", self=tensor([-1, -2, -3, -4], INT32), other=3.5, out=out)
    assert out.array.tolist() == [2.5, 1.5, 0.5, 3.0]  # the document's example
    with refused("promote to int8"):
        call("aclnnRemainderTensorTensor", self=tensor([1], INT8), other=tensor([1], INT8), out=empty((1,), INT8))


def test_powers():
    for dtype in REALS:
        out = empty((3,), dtype)
        call("aclnnPowTensorTensor", self=tensor([2, 3, 4], dtype), exponent=tensor([3, 0.5, -1], dtype), out=out)
        assert_near(out, np.array([8, math.sqrt(3), 0.25]))
        out = empty((2,), dtype)
        call("aclnnPowScalarTensor", self=10000.0, exponent=tensor([0, 0.5], dtype), out=out)
        assert_near(out, np.array([1, 100]))
    out = empty((4,), INT32)
    call("aclnnPowTensorTensor", self=tensor([2, -1, 1, 5], INT32), exponent=tensor([10, -3, -9, -2], INT32), out=out)
    assert out.array.tolist() == [1024, -1, 1, 0]
    out = empty((2, 2), FLOAT32)
    call("aclnnPowTensorScalar", self=tensor([[1, 2], [3, -4]], FLOAT32), exponent=2, out=out)
    assert out.array.tolist() == [[1, 4], [9, 16]]
    with refused("exponent: -1, allowed for int32"):
        call("aclnnPowTensorScalar", self=tensor([2], INT32), exponent=np.int32(-1), out=empty((1,), INT32))
    with refused("both bool"):
        call("aclnnPowTensorTensor", self=tensor([True]), exponent=tensor([True]), out=empty((1,), BOOL))
    with refused("both bool"):
        call("aclnnPowTensorScalar", self=tensor([True]), exponent=True, out=empty((1,), BOOL))


BIT_TABLE = [("And", lambda x, y: x & y), ("Or", lambda x, y: x | y), ("Xor", lambda x, y: x ^ y)]


@pytest.mark.parametrize("name, formula", BIT_TABLE)
def test_bits(name, formula):
    for dtype, values in ((INT32, [0, 5, -1, 12]), (UINT8, [0, 5, 255, 12]), (BOOL, [0, 0, 1, 1])):
        left, right = tensor(values, dtype), tensor(values[::-1], dtype, "other")
        out = empty((4,), dtype)
        call(f"aclnnBitwise{name}Tensor", self=left, other=right, out=out)
        wanted = [formula(int(x), int(y)) for x, y in zip(left.array, right.array, strict=True)]
        assert [int(x) for x in out.array] == wanted
    with refused("dtype float32"):
        call(f"aclnnBitwise{name}Tensor", self=tensor([1.0], FLOAT32), other=tensor([1], INT32), out=empty((1,), INT32))


def test_clamping():
    values = [-3, 0, 2, 9]
    for dtype in (*REALS, INT32, INT64, INT8):
        out = empty((4,), dtype)
        call("aclnnClamp", self=tensor(values, dtype), clipValueMin=-1, clipValueMax=5, out=out)
        assert exact(out).tolist() == [-1, 0, 2, 5]
        call("aclnnClamp", self=tensor(values, dtype), clipValueMin=1, out=out)
        assert exact(out).tolist() == [1, 1, 2, 9]
        call("aclnnClamp", self=tensor(values, dtype), clipValueMax=1, out=out)
        assert exact(out).tolist() == [-3, 0, 1, 1]
        low, high = tensor(-1, dtype), tensor([0, 0, 1, 1], dtype)
        call("aclnnClampTensor", self=tensor(values, dtype), clipValueMin=low, clipValueMax=high, out=out)
        assert exact(out).tolist() == [-1, 0, 1, 1]
    with refused("both absent"):
        call("aclnnClamp", self=tensor(values, FLOAT32), out=empty((4,), FLOAT32))
    with refused("dtype bool"):
        call("aclnnClamp", self=tensor([True]), clipValueMin=0, out=empty((1,), BOOL))
    with refused("do not broadcast"):
        two, out = tensor([1, 2], FLOAT32), empty((4,), FLOAT32)
        call("aclnnClampTensor", self=tensor(values, FLOAT32), clipValueMin=two, clipValueMax=two, out=out)


def test_binary_limits():
    one = tensor([1, 2, 3], FLOAT32)
    with refused("do not broadcast"):
        call("aclnnMul", self=one, other=tensor([1, 2], FLOAT32), out=empty((3,), FLOAT32))
    with refused("expected the broadcast shape"):
        call("aclnnMul", self=one, other=one, out=empty((1, 3), FLOAT32))
    with refused("expected the broadcast shape"):
        call("aclnnInplaceMul", selfRef=one, other=tensor([[1], [2]], FLOAT32))
    with refused("results of dtype float32 are not converted"):
        call("aclnnMul", self=one, other=one, out=empty((3,), INT32))
    with refused("results of dtype int32 are not converted"):
        call("aclnnMul", self=tensor([1], INT32), other=tensor([1], INT32), out=empty((1,), BOOL))
    with refused("dtype uint16"):
        call("aclnnMul", self=tensor([1], UINT16), other=tensor([1], UINT16), out=empty((1,), UINT16))
    with refused("no common dtype"):
        call("aclnnBitwiseAndTensor", self=tensor([1], UINT16), other=tensor([1], INT32), out=empty((1,), INT32))
    with refused("alpha: dtype float32"):
        call("aclnnAdd", self=tensor([1], INT32), other=tensor([1], INT32), alpha=0.5, out=empty((1,), INT32))
    with refused("alpha: dtype float32"):
        call("aclnnAdd", self=tensor([True]), other=tensor([True]), alpha=1.0, out=empty((1,), BOOL))
    with refused("at most 8 dimensions"):
        call("aclnnMul", self=tensor(np.ones((1,) * 9)), other=one, out=empty((1,) * 8 + (3,), FLOAT64))
