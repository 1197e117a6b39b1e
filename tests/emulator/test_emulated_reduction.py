"""Emulated reductions against loops over the values in double precision, and their limits."""

import itertools
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
)
from emulated_calls import assert_near, call, empty, exact, refused, tensor

REALS = (FLOAT32, FLOAT16, BFLOAT16, FLOAT64)
SHAPE = (2, 3, 4)
AXES = [([], True), ([1], False), ([-1], True), ([0, -1], False), ([2, 0, 1], True)]


def values(dtype, shape=SHAPE):
    return tensor(np.random.default_rng(5).integers(-9, 9, shape) / (4 if np.dtype(dtype).kind in "fV" else 1), dtype)


def reduced(given, axes, keep, formula):
    """Collect the values of each cell of the result in a loop, then apply the formula to the list."""
    axes = {axis % given.ndim for axis in axes} or set(range(given.ndim))
    cells = {}
    for place in itertools.product(*map(range, given.shape)):
        key = tuple(0 if axis in axes else i for axis, i in enumerate(place))
        cells.setdefault(key, []).append(given[place])
    result = np.zeros([1 if axis in axes else n for axis, n in enumerate(given.shape)])
    for key, found in cells.items():
        result[key] = formula(found)
    return result if keep else result.reshape([n for axis, n in enumerate(given.shape) if axis not in axes])


def mean(found):
    return math.fsum(found) / len(found)


@pytest.mark.parametrize("axes, keep", AXES)
@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_reductions_of_reals(dtype, axes, keep):
    given = values(dtype)
    for name, formula, parameters in (
        ("ReduceSum", math.fsum, {"dims": axes, "keepDims": keep, "dtype": dtype}),
        ("Mean", mean, {"dim": axes, "keepDim": keep, "dtype": dtype}),
        ("Amax", max, {"dim": axes, "keepDim": keep}),
        ("Amin", min, {"dim": axes, "keepDim": keep}),
    ):
        wanted = reduced(exact(given), axes, keep, formula)
        out = empty(wanted.shape, dtype)
        call(f"aclnn{name}", self=given, out=out, **parameters)
        assert_near(out, wanted)


@pytest.mark.parametrize("axes, keep", AXES)
def test_all_and_any(axes, keep):
    for dtype in (BOOL, INT32, FLOAT16, BFLOAT16):
        given = tensor(np.random.default_rng(1).integers(0, 2, SHAPE), dtype)
        for name, formula in (("All", all), ("Any", any)):
            wanted = reduced(exact(given), axes, keep, formula)
            out = empty(wanted.shape, BOOL)
            call(f"aclnn{name}", self=given, dim=axes, keepdim=keep, out=out)
            assert out.array.tolist() == (wanted != 0).tolist()


def test_sums_of_halves_are_rounded_once():
    for dtype, count in ((FLOAT16, 4000), (BFLOAT16, 1000)):
        out = empty((), dtype)
        call("aclnnReduceSum", self=tensor(np.ones(count), dtype), dims=[0], keepDims=False, dtype=dtype, out=out)
        assert_near(out, np.array(float(count)))  # in the dtype itself it would stop at 2048 and 256
    out = empty((), FLOAT32)
    call("aclnnReduceSum", self=tensor(np.full(3, 0.1), FLOAT16), dims=[], keepDims=False, dtype=FLOAT32, out=out)
    assert_near(out, np.array(3 * float(np.float16(0.1))))


def test_sums_of_integers_wrap_in_the_dtype_asked_for():
    for dtype, wanted in ((INT8, -56), (INT32, 200), (INT64, 200), (FLOAT32, 200)):
        out = empty((), dtype)
        call("aclnnReduceSum", self=tensor([100, 100], INT8), dims=[0], keepDims=False, dtype=dtype, out=out)
        assert out.array == wanted
    out = empty((), INT64)
    call("aclnnReduceSum", self=tensor([True, False, True]), dims=[], keepDims=False, dtype=INT64, out=out)
    assert out.array == 2
    out = empty((3,), FLOAT32)
    call("aclnnReduceSum", self=tensor(np.zeros((0, 3)), FLOAT32), dims=[0], keepDims=False, dtype=FLOAT32, out=out)
    assert out.array.tolist() == [0, 0, 0]


@pytest.mark.parametrize("axis, keep", [(0, True), (1, False), (-1, True), (-3, False)])
def test_extremes_with_their_places(axis, keep):
    for dtype in (FLOAT32, FLOAT16, BFLOAT16, INT64):
        given = values(dtype)
        for name, extreme in (("Max", max), ("Min", min)):
            wanted = reduced(exact(given), [axis], keep, extreme)
            place = reduced(exact(given), [axis], keep, lambda found: found.index(extreme(found)))
            out, indices = empty(wanted.shape, dtype), empty(wanted.shape, INT32)
            call(f"aclnn{name}Dim", self=given, dim=axis, keepdim=keep, out=out, indices=indices)
            assert exact(out).tolist() == wanted.tolist()
            assert indices.array.tolist() == place.tolist()
            found = empty(wanted.shape, INT64)
            call(f"aclnnArg{name}", self=given, dim=axis, keepdim=keep, out=found)
            assert found.array.tolist() == place.tolist()


def test_extremes_of_all_values():
    given = tensor(exact(values(BFLOAT16))[:, ::2], BFLOAT16)
    for name, extreme in (("Max", max), ("Min", min)):
        for shape in ((), (1,)):
            out = empty(shape, BFLOAT16)
            call(f"aclnn{name}", self=given, out=out)
            assert exact(out).reshape(()) == extreme(exact(given).reshape(-1))
    out = empty((), INT64)
    call("aclnnArgMax", self=tensor(7.0, FLOAT32), dim=-1, keepdim=False, out=out)
    assert out.array == 0


def test_products_and_spread():
    given = values(FLOAT32, (3, 4))
    out = empty((), FLOAT32)
    call("aclnnProd", self=given, dtype=FLOAT32, out=out)
    assert_near(out, np.array(math.prod(exact(given).reshape(-1).tolist())))
    out = empty((3,), INT64)
    whole = tensor([[1, 2], [3, 4], [-5, 6]], INT32)
    call("aclnnProdDim", self=whole, dim=1, keepDim=False, dtype=INT64, out=out)
    assert out.array.tolist() == [2, 12, -30]
    for dtype in (FLOAT32, FLOAT16, BFLOAT16):
        given = values(dtype, (3, 4))
        for correction in (0, 1):
            wanted = reduced(
                exact(given), [1], True, lambda row: sum((x - mean(row)) ** 2 for x in row) / (4 - correction)
            )
            out = empty((3, 1), dtype)
            call("aclnnStd", self=given, dim=[1], correction=correction, keepdim=True, out=out)
            assert_near(out, np.sqrt(wanted), 1.1)


def test_limits():
    given, line = values(FLOAT32), tensor([1.0, 2.0], FLOAT32)

    def total(dims=(1,), dtype=FLOAT32, out=(2, 4), out_dtype=FLOAT32, x=given):
        call("aclnnReduceSum", self=x, dims=list(dims), keepDims=False, dtype=dtype, out=empty(out, out_dtype))

    with refused("dims: 3, allowed: -3 to 2"):
        total([3])
    with refused("named twice"):
        total([1, -2])
    with refused(r"shape \(2, 3\), expected \(2, 4\)"):
        total(out=(2, 3))
    with refused("dtype: float16, expected that of out"):
        total(dtype=FLOAT16)
    with refused("not allowed for an empty input"):
        total([0], COMPLEX64, (), COMPLEX64, tensor([], FLOAT32))
    with refused("at most 8 dimensions"):
        total([], x=tensor(np.ones((1,) * 9), FLOAT32), out=())
    with refused("dtype bool"):
        call("aclnnMean", self=tensor([True]), dim=[0], keepDim=False, dtype=FLOAT32, out=empty((), FLOAT32))
    with refused("not convertible to dtype int32"):
        call("aclnnMean", self=line, dim=[0], keepDim=False, dtype=INT32, out=empty((), INT32))
    with refused("expected that of"):
        call("aclnnAmax", self=line, dim=[0], keepDim=False, out=empty((), FLOAT16))
    with refused("no extreme value"):
        call("aclnnAmax", self=tensor(np.ones((0, 2)), FLOAT32), dim=[0], keepDim=False, out=empty((2,), FLOAT32))
    with refused("allowed: .* or .1,"):
        call("aclnnMax", self=line, out=empty((1, 1), FLOAT32))
    with refused("dtype int32"):
        call(
            "aclnnMaxDim",
            self=tensor([1], INT32),
            dim=0,
            keepdim=True,
            out=empty((1,), INT32),
            indices=empty((1,), INT32),
        )
    with refused("dtype int64"):
        call("aclnnMinDim", self=line, dim=0, keepdim=True, out=empty((1,), FLOAT32), indices=empty((1,), INT64))
    with refused("dim: 1, allowed: -1 to 0"):
        call("aclnnArgMax", self=line, dim=1, keepdim=False, out=empty((), INT64))
    with refused("dtype float32"):
        call("aclnnArgMax", self=line, dim=0, keepdim=False, out=empty((), FLOAT32))
    with refused("dtype bool"):
        call("aclnnArgMax", self=tensor([True]), dim=0, keepdim=False, out=empty((), INT64))
    with refused("dtype uint8"):
        call("aclnnAny", self=line, dim=[], keepdim=False, out=empty((), UINT8))
    with refused("dtype int32"):
        call("aclnnStd", self=tensor([1, 2], INT32), dim=[0], correction=1, keepdim=False, out=empty((), FLOAT32))
