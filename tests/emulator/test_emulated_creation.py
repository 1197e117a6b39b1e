"""Emulated creation and random numbers against Python's ranges and statistics, and their limits."""

import math

import numpy as np
import pytest
from ascend_emulator.device_tensor import (
    BFLOAT16,
    BOOL,
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
from emulated_calls import assert_near, call, empty, exact, refused, tensor


@pytest.mark.parametrize("start, end, step", [(0, 5, 1), (3, -4, -2), (0, 0, 1), (2, 7, 3)])
def test_arange_of_integers(start, end, step):
    wanted = list(range(start, end, step))
    for dtype in (INT32, INT64, FLOAT32, FLOAT16, BFLOAT16, FLOAT64):
        out = empty((len(wanted),), dtype)
        call("aclnnArange", start=np.int64(start), end=np.int64(end), step=np.int64(step), out=out)
        assert exact(out).tolist() == wanted


def test_arange_of_reals_and_large_integers():
    out = empty((4,), FLOAT32)
    call("aclnnArange", start=0.5, end=2.5, step=0.5, out=out)
    assert out.array.tolist() == [0.5, 1.0, 1.5, 2.0]
    out = empty((3,), INT64)
    call("aclnnArange", start=np.int64(2**53), end=np.int64(2**53 + 3), step=np.int64(1), out=out)
    assert out.array.tolist() == [2**53, 2**53 + 1, 2**53 + 2]


def test_limits_of_arange():
    with refused("step: 0"):
        call("aclnnArange", start=0, end=1, step=0, out=empty((1,), INT64))
    with refused("leads away from the end"):
        call("aclnnArange", start=0, end=4, step=-1, out=empty((4,), INT64))
    with refused(r"shape \(5,\), expected \(4,\)"):
        call("aclnnArange", start=0, end=4, step=1, out=empty((5,), INT64))
    with refused("dtype int8"):
        call("aclnnArange", start=0, end=4, step=1, out=empty((4,), INT8))
    with refused("allowed: 1 dimensions"):
        call("aclnnArange", start=0, end=4, step=1, out=empty((2, 2), INT64))


def test_linspace():
    for dtype in (FLOAT32, FLOAT16, BFLOAT16):
        out = empty((5,), dtype)
        call("aclnnLinspace", start=-1.0, end=1.0, steps=5, out=out)
        assert exact(out).tolist() == [-1, -0.5, 0, 0.5, 1]
    out = empty((1,), FLOAT32)
    call("aclnnLinspace", start=3, end=9, steps=1, out=out)
    assert out.array.tolist() == [3]
    with refused("steps: -1"):
        call("aclnnLinspace", start=0, end=1, steps=-1, out=empty((0,), FLOAT32))
    with refused("2 elements, expected 3"):
        call("aclnnLinspace", start=0, end=1, steps=3, out=empty((2,), FLOAT32))
    with refused("empty"):
        call("aclnnLinspace", start=0, end=1, steps=0, out=empty((0,), FLOAT32))
    with refused("dtype int64"):
        call("aclnnLinspace", start=0, end=1, steps=2, out=empty((2,), INT64))


def test_constants():
    for dtype in (FLOAT32, FLOAT16, BFLOAT16, FLOAT64, INT8, INT16, INT32, INT64, UINT8, UINT16, BOOL):
        for shape in ((), (0,), (2, 3)):
            given = empty(shape, dtype, "selfRef")
            call("aclnnInplaceOne", selfRef=given)
            assert (exact(given) == 1).all()
            call("aclnnInplaceZero", selfRef=given)
            assert not exact(given).any()
        given = tensor(np.zeros((3, 4), dtype)[:, ::2], None, "selfRef")
        call("aclnnInplaceFillScalar", selfRef=given, value=1)
        assert (exact(given) == 1).all()
    call("aclnnInplaceFillTensor", selfRef=given, value=tensor(False))
    assert not given.array.any()
    with refused("dtype complex64"):
        call("aclnnInplaceOne", selfRef=empty((1,), np.complex64))
    with refused("allowed: .* or .1,"):
        call("aclnnInplaceFillTensor", selfRef=empty((2,), INT32), value=tensor([1, 2], INT32))
    with refused("not convertible"):
        call("aclnnInplaceFillTensor", selfRef=empty((2,), INT32), value=tensor(1.0, FLOAT32))
    with refused("dtype float64"):
        call("aclnnInplaceFillTensor", selfRef=empty((2,), FLOAT64), value=tensor(1.0, FLOAT32))


@pytest.mark.parametrize("diagonal", [-3, -1, 0, 2, 5])
def test_triangles(diagonal):
    for dtype in (FLOAT32, FLOAT16, BFLOAT16, INT32, BOOL):
        given = tensor(
            np.arange(1, 25).reshape(2, 3, 4) % 2 if dtype == BOOL else np.arange(1, 25).reshape(2, 3, 4), dtype
        )
        for name, is_kept in (("Triu", lambda i, j: i + diagonal <= j), ("Tril", lambda i, j: i + diagonal >= j)):
            wanted = [[[exact(given)[b, i, j] * is_kept(i, j) for j in range(4)] for i in range(3)] for b in range(2)]
            out = empty((2, 3, 4), dtype)
            call(f"aclnn{name}", self=given, diagonal=diagonal, out=out)
            assert exact(out).tolist() == wanted


def test_identity_and_limits():
    for dtype in (FLOAT32, BFLOAT16, INT64, BOOL):
        out = empty((2, 3), dtype)
        call("aclnnEye", n=2, m=3, out=out)
        assert exact(out).tolist() == [[1, 0, 0], [0, 1, 0]]
    with refused("expected .2, 2."):
        call("aclnnEye", n=2, m=2, out=out)
    with refused("n and m: -1"):
        call("aclnnEye", n=-1, m=3, out=out)
    with refused("allowed: 2 to 8 dimensions"):
        call("aclnnTriu", self=tensor([1.0], FLOAT32), diagonal=0, out=empty((1,), FLOAT32))
    with refused("expected that of"):
        call("aclnnTriu", self=tensor([[1.0]], FLOAT32), diagonal=0, out=empty((1, 1), FLOAT16))
    with refused("dtype complex64"):
        call("aclnnTriu", self=tensor([[1]], np.complex64), diagonal=0, out=empty((1, 1), np.complex64))


# ---- random ----------------------------------------------------------------------------------------------------------
COUNT = 20000


def drawn(name, dtype=FLOAT32, shape=(COUNT,), seed=5, offset=0, key="selfRef", **parameters):
    given = empty(shape, dtype, key)
    call(f"aclnn{name}", **{key: given}, seed=seed, offset=offset, **parameters)
    return given.array.astype(np.float64)


DRAWS = [
    ("InplaceUniform", {"from_": -2.0, "to": 2.0}),
    ("InplaceNormal", {"mean": 1.0, "std": 0.5}),
    ("InplaceRandom", {"from_": 0, "to": 100}),
    ("InplaceBernoulli", {"prob": 0.25}),
]


@pytest.mark.parametrize("name, parameters", DRAWS)
def test_seed_and_offset_decide(name, parameters):
    first = drawn(name, **parameters)
    assert np.array_equal(first, drawn(name, **parameters))
    assert not np.array_equal(first, drawn(name, seed=6, **parameters))
    assert not np.array_equal(first, drawn(name, offset=4, **parameters))


def test_distributions():
    for dtype in (FLOAT32, FLOAT16, BFLOAT16):
        uniform = drawn("InplaceUniform", dtype, from_=-2.0, to=2.0)
        assert uniform.min() >= -2 and uniform.max() < 2
        counts = np.histogram(uniform, 8, (-2, 2))[0]
        assert abs(counts / COUNT - 1 / 8).max() < 0.01
        normal = drawn("InplaceNormal", dtype, mean=1.0, std=0.5)
        assert abs(normal.mean() - 1) < 0.02 and abs(normal.std() - 0.5) < 0.02
        inside = np.mean(abs(normal - 1) < 0.5)
        assert abs(inside - math.erf(math.sqrt(0.5))) < 0.02
    whole = drawn("InplaceRandom", INT64, from_=3, to=7)
    assert sorted(set(whole.tolist())) == [3, 4, 5, 6]
    assert abs(drawn("InplaceBernoulli", BOOL, prob=0.25).mean() - 0.25) < 0.02
    assert sorted(drawn("Randperm", INT64, key="out", n=COUNT).tolist()) == list(range(COUNT))


def test_multinomial():
    weights = tensor([[1.0, 0.0, 3.0], [0.0, 5.0, 0.0]], FLOAT32)
    out = empty((2, 8000), INT64)
    call("aclnnMultinomial", self=weights, numsamples=8000, replacement=True, seed=1, offset=0, out=out)
    assert abs(np.mean(out.array[0] == 2) - 0.75) < 0.03 and set(out.array[0].tolist()) == {0, 2}
    assert (out.array[1] == 1).all()
    line = empty((3,), INT64)
    call("aclnnMultinomial", self=tensor([1, 2, 3], FLOAT16), numsamples=3, replacement=False, out=line)
    assert sorted(line.array.tolist()) == [0, 1, 2]
    with refused("numsamples: 4, allowed without replacement"):
        call(
            "aclnnMultinomial", self=tensor([1, 2, 3], FLOAT16), numsamples=4, replacement=False, out=empty((4,), INT64)
        )
    with refused("numsamples: 0"):
        call("aclnnMultinomial", self=weights, numsamples=0, replacement=True, out=empty((2, 0), INT64))
    with refused("dtype int32"):
        call("aclnnMultinomial", self=weights, numsamples=1, replacement=True, out=empty((2, 1), INT32))
    with refused("allowed: 1 to 2 dimensions"):
        call("aclnnMultinomial", self=tensor(1.0, FLOAT32), numsamples=1, replacement=True, out=empty((1,), INT64))
    with refused("16777216 categories"):
        many = tensor(np.broadcast_to(np.float32(1), (2**24 + 1,)))
        call("aclnnMultinomial", self=many, numsamples=1, replacement=True, out=empty((1,), INT64))


def test_limits_of_random():
    with refused("from: 3.0, allowed: at most to"):
        drawn("InplaceUniform", from_=3.0, to=2.0)
    with refused("to: 300.0, allowed for int8"):
        drawn("InplaceUniform", INT8, from_=0.0, to=300.0)
    with refused("dtype bool"):
        drawn("InplaceUniform", BOOL, from_=0.0, to=1.0)
    with refused("std: -1.0"):
        drawn("InplaceNormal", mean=0.0, std=-1.0)
    with refused("dtype int32"):
        drawn("InplaceNormal", INT32, mean=0.0, std=1.0)
    with refused("from: 2, allowed: below to"):
        drawn("InplaceRandom", from_=2, to=2)
    with refused("to - 1: 256, allowed for uint8"):
        drawn("InplaceRandom", UINT8, from_=0, to=257)
    with refused("prob: 1.5"):
        drawn("InplaceBernoulli", prob=1.5)
    with refused("offset: 3, allowed: multiples of 4"):
        drawn("InplaceBernoulli", prob=0.5, offset=3)
    with refused("expected .7,"):
        call("aclnnRandperm", n=7, seed=0, offset=0, out=empty((6,), INT64))
    edge = empty((COUNT,), FLOAT16, "selfRef")
    call("aclnnInplaceUniform", selfRef=edge, from_=0.9995, to=1.0, seed=0, offset=0)
    assert_near(edge, np.full(COUNT, 0.99951), 1.1)  # 1 itself is not drawn, though half of the values round to it
