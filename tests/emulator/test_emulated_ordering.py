"""Emulated sorting, k largest, cumulative sums and searches against Python's own, and their limits."""

import bisect
import math

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, BOOL, FLOAT16, FLOAT32, FLOAT64, INT8, INT32, INT64, UINT8
from emulated_calls import assert_near, call, empty, exact, refused, tensor

ROWS = [[3, 1, 2, 3, -1], [0, 0, 5, -2, 7]]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", (FLOAT32, FLOAT16, BFLOAT16, INT32, INT64, INT8), ids=str)
def test_sort_is_stable(dtype, descending):
    places = [sorted(range(5), key=lambda i: -row[i] if descending else row[i]) for row in ROWS]
    for axis, given in ((1, tensor(ROWS, dtype)), (-2, tensor(np.array(ROWS, dtype).T))):
        out, indices = empty(given.shape, dtype), empty(given.shape, INT64)
        call("aclnnSort", self=given, stable=True, dim=axis, descending=descending, valuesOut=out, indicesOut=indices)
        turned = (exact(out), indices.array) if axis == 1 else (exact(out).T, indices.array.T)
        assert turned[1].tolist() == places
        assert turned[0].tolist() == [[row[i] for i in order] for row, order in zip(ROWS, places, strict=True)]


@pytest.mark.parametrize("descending", [False, True])
def test_long_rows_of_equal_values_keep_their_order(descending):
    values = [i % 3 for i in range(200)]
    out, indices = empty((200,), FLOAT32), empty((200,), INT64)
    given = tensor(values, FLOAT32)
    call("aclnnSort", self=given, stable=True, dim=0, descending=descending, valuesOut=out, indicesOut=indices)
    wanted = sorted(range(200), key=lambda i: -values[i] if descending else values[i])
    assert indices.array.tolist() == wanted


def test_sort_puts_nan_after_everything_and_takes_an_empty_tensor():
    given, out, indices = tensor([math.nan, 1, math.inf], FLOAT32), empty((3,), FLOAT32), empty((3,), INT64)
    call("aclnnSort", self=given, stable=True, dim=0, valuesOut=out, indicesOut=indices)
    assert indices.array.tolist() == [1, 2, 0]
    nothing = tensor([], FLOAT32)
    call("aclnnSort", self=nothing, dim=0, valuesOut=empty((0,), FLOAT32), indicesOut=empty((0,), INT64))


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_top_k(k, largest):
    for dtype in (FLOAT32, FLOAT16, BFLOAT16, FLOAT64, INT32, UINT8):
        rows = np.abs(ROWS).tolist()
        out, indices = empty((2, k), dtype), empty((2, k), INT64)
        call(
            "aclnnTopk",
            self=tensor(rows, dtype),
            k=k,
            dim=-1,
            largest=largest,
            sorted=True,
            valuesOut=out,
            indicesOut=indices,
        )
        for row, made, places in zip(rows, exact(out), indices.array, strict=True):
            assert made.tolist() == sorted(row, reverse=largest)[:k]
            assert [row[i] for i in places] == made.tolist() and len(set(places.tolist())) == k


def test_limits_of_orders():
    def sort(given, dim=0, indices=INT64):
        call(
            "aclnnSort",
            self=given,
            dim=dim,
            valuesOut=empty(given.shape, given.dtype),
            indicesOut=empty(given.shape, indices),
        )

    with refused("dimension 1 of bfloat16 values must not be 1"):
        sort(tensor([[1.0], [2.0]], BFLOAT16), 1)
    sort(tensor([[1.0], [2.0]], FLOAT16), 1)
    with refused("dtype float64"):
        sort(tensor([1.0], FLOAT64))
    with refused("dtype int32"):
        sort(tensor([1.0], FLOAT32), 0, INT32)
    with refused("dim: 1, allowed: -1 to 0"):
        sort(tensor([1.0], FLOAT32), 1)
    with refused("allowed: 1 to 8 dimensions"):
        sort(tensor(1.0, FLOAT32))

    def top(k, is_sorted=True, dtype=FLOAT32, indices=INT64, shape=None):
        shape = (k,) if shape is None else shape
        given = tensor([1, 2, 3], dtype)
        call(
            "aclnnTopk",
            self=given,
            k=k,
            dim=0,
            sorted=is_sorted,
            valuesOut=empty(shape, dtype),
            indicesOut=empty(shape, indices),
        )

    with refused("k: 4, allowed: 0 to 3"):
        top(4)
    with refused("k: -1, allowed"):
        top(-1, shape=(0,))
    with refused("sorted: False"):
        top(2, is_sorted=False)
    with refused("dtype int32"):
        top(2, indices=INT32)
    with refused("dtype bool"):
        top(2, dtype=BOOL)
    with refused("expected .2,"):
        top(2, shape=(3,))


def running(values):
    total, sums = 0, []
    for value in values:
        total += value
        sums.append(total)
    return sums


def test_cumulative_sums():
    for dtype in (FLOAT32, FLOAT16, BFLOAT16, INT32, INT64):
        for axis, given in ((-1, tensor(ROWS, dtype)), (0, tensor(np.array(ROWS, dtype).T))):
            out = empty(given.shape, dtype)
            call("aclnnCumsum", self=given, dim=axis, dtype=dtype, out=out)
            made = exact(out) if axis else exact(out).T
            assert made.tolist() == [running(row) for row in ROWS]
    out = empty((3000,), BFLOAT16)
    call("aclnnCumsum", self=tensor(np.ones(3000), BFLOAT16), dim=0, dtype=BFLOAT16, out=out)
    assert_near(out, np.arange(1.0, 3001))  # rounded once, not with every addition
    out = empty((), INT64)
    call("aclnnCumsum", self=tensor(5, INT64), dim=0, dtype=INT64, out=out)
    assert out.array == 5
    with refused("dtype: int32, expected that of out"):
        call("aclnnCumsum", self=tensor([1], INT32), dim=0, dtype=INT32, out=empty((1,), INT64))
    with refused("not convertible to int32"):
        call("aclnnCumsum", self=tensor([1.0], FLOAT32), dim=0, dtype=INT32, out=empty((1,), INT32))
    with refused("dtype bool"):
        call("aclnnCumsum", self=tensor([True]), dim=0, dtype=INT64, out=empty((1,), INT64))
    with refused("dim: 1, allowed"):
        call("aclnnCumsum", self=tensor([1], INT64), dim=1, dtype=INT64, out=empty((1,), INT64))


@pytest.mark.parametrize("right", [False, True])
def test_search_in_sorted_rows(right):
    find = bisect.bisect_right if right else bisect.bisect_left
    rows, wanted = [[1, 3, 3, 9], [0, 2, 4, 6]], [[3, 0], [7, 4]]
    out = empty((2, 2), INT64)
    call("aclnnSearchSorted", sortedSequence=tensor(rows, FLOAT32), self=tensor(wanted, FLOAT32), right=right, out=out)
    assert out.array.tolist() == [[find(row, x) for x in xs] for row, xs in zip(rows, wanted, strict=True)]
    out = empty((2, 2), INT32)
    call(
        "aclnnSearchSorted",
        sortedSequence=tensor([3, 1, 9, 3], INT32),
        self=tensor(wanted, INT32),
        outInt32=True,
        right=right,
        sorter=tensor([1, 0, 3, 2], INT64),
        out=out,
    )
    assert out.array.tolist() == [[find(rows[0], x) for x in xs] for xs in wanted]
    with refused("dtype int64"):
        call(
            "aclnnSearchSorted",
            sortedSequence=tensor(rows, FLOAT32),
            self=tensor(wanted, FLOAT32),
            outInt32=True,
            out=empty((2, 2), INT64),
        )
    with refused("dtype bfloat16"):
        call(
            "aclnnSearchSorted",
            sortedSequence=tensor(rows, BFLOAT16),
            self=tensor(wanted, FLOAT32),
            out=empty((2, 2), INT64),
        )
