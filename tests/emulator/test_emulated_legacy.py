"""Emulated legacy operators against loops and lists, and the statuses that they are refused with."""

import itertools

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, BOOL, FLOAT16, FLOAT32, FLOAT64, INT16, INT32, INT64
from ascend_emulator.legacy import (
    ATTRIBUTE_NOT_MATCH,
    DEVICE_EXCEPTION,
    GE_FAILURE,
    INPUT_NOT_MATCH,
    OUTPUT_NOT_MATCH,
)
from ascend_emulator.refusal import NOT_EMULATED
from ascend_emulator.table import OPERATORS
from emulated_calls import assert_near, call_kernel, empty, exact, refused, tensor

DTYPES = (FLOAT32, FLOAT16, BFLOAT16, INT32, INT64)


def counted(shape, dtype=FLOAT32, name="input 0"):
    return tensor(np.arange(np.prod(shape)).reshape(shape) % (2 if dtype == BOOL else 97), dtype, name)


def run(name, *inputs, out, **attributes):
    call_kernel("aclop", name, list(inputs), [out] if not isinstance(out, list) else out, **attributes)


def whole(*values, dtype=INT64):
    return tensor(np.array(values, np.int64), dtype)


def test_counts_and_attributes_of_the_registration():
    given, out = counted((2, 3)), empty((2, 3), FLOAT32)
    with refused("1 inputs, allowed: 2", INPUT_NOT_MATCH):
        run("Add", given, out=out)
    with refused("2 outputs, allowed: 1", OUTPUT_NOT_MATCH):
        run("Add", given, given, out=[out, out])
    with refused("attributes axis: unknown, there are: none", ATTRIBUTE_NOT_MATCH):
        run("Add", given, given, out=out, axis=0)
    with refused("attributes concat_dim: missing", ATTRIBUTE_NOT_MATCH):
        run("ConcatD", given, given, out=empty((4, 3), FLOAT32))
    with refused("input 1: without memory", INPUT_NOT_MATCH):
        run("Add", given, None, out=out)
    with refused("at most 8 dimensions", GE_FAILURE):
        deep = tensor(np.ones((1,) * 9), FLOAT32)
        run("Add", deep, deep, out=empty((1,) * 9, FLOAT32))
    with refused("dtype uint16", GE_FAILURE):
        odd = tensor([1], np.uint16)
        run("Add", odd, odd, out=empty((1,), np.uint16))
    with refused("expected that of input 0", GE_FAILURE):
        run("Mul", given, tensor([1], INT32), out=out)
    with refused("inferred: .2, 3.", GE_FAILURE):
        run("Mul", given, given, out=empty((3, 2), FLOAT32))
    with refused("dtype float16, expected float32", GE_FAILURE):
        run("Mul", given, given, out=empty((2, 3), FLOAT16))


ELEMENTWISE = {
    "Add": lambda x, y: x + y,
    "Sub": lambda x, y: x - y,
    "Mul": lambda x, y: x * y,
    "RealDiv": lambda x, y: x / y,
    "FloorDiv": lambda x, y: x // y,
    "FloorMod": lambda x, y: x % y,
    "Maximum": max,
    "Minimum": min,
    "Pow": lambda x, y: x**y,
}
COMPARISONS = {
    "Equal": lambda x, y: x == y,
    "NotEqual": lambda x, y: x != y,
    "Less": lambda x, y: x < y,
    "LessEqual": lambda x, y: x <= y,
    "Greater": lambda x, y: x > y,
    "GreaterEqual": lambda x, y: x >= y,
}


@pytest.mark.parametrize("name", [*ELEMENTWISE, *COMPARISONS])
def test_two_operands(name):
    formula = (ELEMENTWISE | COMPARISONS)[name]
    rows, column = [[5.0, 2.0, 3.0], [4.0, -6.0, 1.0]], [[2.0], [3.0]]
    for dtype in (FLOAT32, FLOAT16, BFLOAT16) if name == "RealDiv" else DTYPES:
        wanted = np.array([[formula(x, line[0]) for x in row] for row, line in zip(rows, column, strict=True)])
        out = empty((2, 3), BOOL if name in COMPARISONS else dtype)
        run(name, tensor(rows, dtype), tensor(column, dtype), out=out)
        if dtype in (INT32, INT64) or name in COMPARISONS:
            assert out.array.tolist() == wanted.tolist()
        else:
            assert_near(out, wanted)


def test_logic():
    left, right = tensor([False, False, True, True]), tensor([False, True, False, True])
    for name, wanted in (("LogicalAnd", [0, 0, 0, 1]), ("LogicalOr", [0, 1, 1, 1])):
        out = empty((4,), BOOL)
        run(name, left, right, out=out)
        assert out.array.astype(int).tolist() == wanted
    with refused("dtype int32", GE_FAILURE):
        run("LogicalAnd", tensor([1], INT32), tensor([1], INT32), out=empty((1,), BOOL))
    with refused("dtype int16", GE_FAILURE):
        run("Maximum", tensor([1], INT16), tensor([1], INT16), out=empty((1,), INT16))


def test_scatter_update():
    for dtype in (FLOAT32, FLOAT16, BFLOAT16, INT32, INT64):
        cache, made = tensor(np.zeros((4, 2)), dtype), empty((4, 2), dtype)
        run(
            "ScatterUpdate",
            cache,
            whole(3, 1, dtype=INT32),
            tensor([[1, 2], [3, 4]], dtype),
            out=made,
            use_locking=True,
        )
        for array in (cache, made):
            assert exact(array).tolist() == [[0, 0], [3, 4], [0, 0], [1, 2]]
    with refused("values from 4 to 4, allowed: 0 to 3", DEVICE_EXCEPTION):
        run("ScatterUpdate", cache, whole(4), tensor([[1, 2]], INT64), out=made)
    with refused("shape .2,., expected .1, 2.", GE_FAILURE):
        run("ScatterUpdate", cache, whole(0), tensor([1, 2], INT64), out=made)
    with refused("dtype bool", GE_FAILURE):
        run("ScatterUpdate", tensor([[True]]), whole(0), tensor([[True]]), out=empty((1, 1), BOOL))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather(axis):
    for dtype in (*DTYPES, BOOL):
        given, index = counted((3, 4), dtype), tensor([[0, 2], [1, 1]], INT32)
        axis_from_front = axis % 2
        shape = (2, 2, 4) if axis_from_front == 0 else (3, 2, 2)
        out = empty(shape, dtype)
        run("GatherV2", given, index, tensor(axis, INT64), out=out, batch_dims=0)
        for i, j in itertools.product(range(2), range(2)):
            picked = exact(given).take(int(index.array[i, j]), axis)
            assert np.array_equal(exact(out)[i, j] if axis_from_front == 0 else exact(out)[:, i, j], picked)
    out = empty((1, 4), FLOAT32)
    run("GatherV2", counted((3, 4)), whole(-1), tensor(0), out=out, negative_index_support=True)
    assert out.array.tolist() == [[8, 9, 10, 11]]
    with refused("values from -1 to -1", DEVICE_EXCEPTION):
        run("GatherV2", counted((3, 4)), whole(-1), tensor(0), out=out)
    with refused("only 0 is emulated", NOT_EMULATED):
        run("GatherV2", counted((3, 4)), whole(0), tensor(0), out=out, batch_dims=1)


def test_gather_and_scatter_of_places():
    given, places = counted((3, 4)), tensor([[0, 1], [2, 3]], INT64)
    out = empty((2,), FLOAT32)
    run("GatherNd", given, places, out=out)
    assert out.array.tolist() == [1, 11]
    out = empty((3, 4), FLOAT32)
    run("TensorScatterUpdate", given, places, tensor([-1, -2], FLOAT32), out=out)
    assert out.array[0].tolist() == [0, -1, 2, 3] and out.array[2, 3] == -2 and given.array[0, 1] == 1
    with refused("a position outside 0 to 2 for dimension 0", DEVICE_EXCEPTION):
        run("GatherNd", given, tensor([[3, 0]]), out=empty((1,), FLOAT32))
    with refused("last dimension is allowed up to 2", GE_FAILURE):
        run("GatherNd", given, tensor([[0, 0, 0]]), out=empty((1,), FLOAT32))


def test_top_k():
    rows = [[3.0, 9.0, 1.0, 9.0], [5.0, -2.0, 7.0, 0.0]]
    for name, dtype in (("TopK", INT32), ("TopKV2", INT32)):
        out, indices = empty((2, 2), FLOAT32), empty((2, 2), dtype)
        run(name, tensor(rows, FLOAT32), tensor(2, INT32), out=[out, indices], sorted=True)
        assert out.array.tolist() == [[9, 9], [7, 5]] and indices.array.tolist() == [[1, 3], [2, 0]]
        run(name, tensor(rows, FLOAT32), tensor(2, INT32), out=[out, indices], sorted=True, largest=False, dim=-1)
        assert out.array.tolist() == [[1, 3], [-2, 0]]
    with refused("5, allowed: 0 to 4", GE_FAILURE):
        run("TopK", tensor(rows), tensor(5, INT32), out=[empty((2, 5), FLOAT64), empty((2, 5), INT32)])
    with refused("dtype int64", GE_FAILURE):
        run("TopK", tensor(rows), tensor(2, INT64), out=[empty((2, 2), FLOAT64), empty((2, 2), INT32)])
    with refused("dtype int64", GE_FAILURE):
        run("TopK", tensor(rows), tensor(2, INT32), out=[empty((2, 2), FLOAT64), empty((2, 2), INT64)])


def test_largest_and_running_sums():
    for dtype in (FLOAT32, FLOAT16, BFLOAT16):
        out = empty((2,), INT64)
        run("ArgMaxV2", tensor([[1, 5, 5], [7, 0, 1]], dtype), tensor(-1, INT64), out=out, dtype=9)
        assert out.array.tolist() == [1, 0]
    with refused("dtype float32", GE_FAILURE):
        run("ArgMaxV2", counted((2, 2)), tensor(0), out=empty((2,), FLOAT32))
    for exclusive, reverse, wanted in ((0, 0, [1, 3, 6]), (1, 0, [0, 1, 3]), (0, 1, [6, 5, 3]), (1, 1, [5, 3, 0])):
        out = empty((3,), INT32)
        run("Cumsum", whole(1, 2, 3, dtype=INT32), tensor(0), out=out, exclusive=exclusive, reverse=reverse)
        assert out.array.tolist() == wanted


def test_one_hot():
    out = empty((2, 3), FLOAT32)
    run("OneHot", whole(2, 7), whole(3), tensor([5], FLOAT32), tensor([1], FLOAT32), out=out, axis=-1)
    assert out.array.tolist() == [[1, 1, 5], [1, 1, 1]]


SLICES = [
    # begin, end, strides, masks, what Python takes
    ([1, 0], [3, 4], [1, 2], {}, (slice(1, 3), slice(0, 4, 2))),
    ([-1], [0], [1], {"end_mask": 1}, (slice(-1, None),)),
    ([1, 9], [2, 9], [1, 1], {"shrink_axis_mask": 1, "begin_mask": 2, "end_mask": 2}, (1, slice(None))),
    ([3, 0], [-9, 2], [-2, 1], {}, (slice(3, -9, -2), slice(0, 2))),
    ([0, 1], [0, 2], [1, 1], {"ellipsis_mask": 1}, (..., slice(1, 2))),
    ([0, 1], [0, 2], [1, 1], {"new_axis_mask": 1}, (None, slice(1, 2))),
]


@pytest.mark.parametrize("begin, end, strides, masks, key", SLICES)
def test_strided_slice(begin, end, strides, masks, key):
    for dtype in DTYPES:
        given = counted((4, 5), dtype)
        wanted = exact(given)[key]
        out = empty(wanted.shape, dtype)
        run("StridedSlice", given, whole(*begin), whole(*end), whole(*strides), out=out, **masks)
        assert exact(out).tolist() == wanted.tolist()


def test_limits_of_strided_slice():
    given, out = counted((4, 5)), empty((1, 5), FLOAT32)
    with refused("strides: 0", GE_FAILURE):
        run("StridedSlice", given, whole(0), whole(1), whole(0), out=out)
    with refused("allowed: one shape", GE_FAILURE):
        run("StridedSlice", given, whole(0), whole(1, 2), whole(1), out=out)
    with refused("inferred: .2, 5.", GE_FAILURE):
        run("StridedSlice", given, whole(0), whole(2), whole(1), out=out)
    with refused("out of bounds", GE_FAILURE):
        run("StridedSlice", given, whole(4), whole(5), whole(1), out=empty((5,), FLOAT32), shrink_axis_mask=1)
    with refused("dtype bool", GE_FAILURE):
        run("StridedSlice", counted((4, 5), BOOL), whole(0), whole(1), whole(1), out=empty((1, 5), BOOL))


def test_joining_and_splitting():
    for dtype in DTYPES:
        one, other = counted((2, 3), dtype), tensor(np.ones((2, 3)), dtype)
        out = empty((2, 2, 3), dtype)
        run("Pack", one, other, out=out, axis=1, N=2)
        assert np.array_equal(exact(out)[:, 0], exact(one)) and np.array_equal(exact(out)[:, 1], exact(other))
        out = empty((2, 6), dtype)
        run("ConcatD", one, other, out=out, concat_dim=-1, N=2)
        assert exact(out).tolist() == [[*row, 1, 1, 1] for row in exact(one).tolist()]
        outs = [empty((2, 1), dtype), empty((2, 2), dtype)]
        run("SplitV", one, whole(1, 2), tensor(1), out=outs, num_split=2)
        assert exact(outs[1]).tolist() == [row[1:] for row in exact(one).tolist()]
    with refused("must be .2, 3. but for dimension 0", GE_FAILURE):
        run("ConcatD", one, counted((2, 2), INT64), out=empty((4, 3), INT64), concat_dim=0)
    with refused("their sum must be 3", GE_FAILURE):
        run("SplitV", one, whole(1, 1), tensor(1), out=outs, num_split=2)
    with refused("must be equal", GE_FAILURE):
        run("SplitV", one, whole(1, 2), tensor(1), out=outs, num_split=3)
    with refused("expected int64", GE_FAILURE):
        run("Pack", one, counted((2, 3)), out=empty((2, 2, 3), INT64))


def test_repeating_and_filling():
    for dtype in DTYPES:
        row = tensor([[1, 2]], dtype)
        out = empty((2, 3, 2), dtype)
        run("BroadcastTo", row, whole(2, 3, 2), out=out)
        assert exact(out).tolist() == [[[1, 2]] * 3] * 2
        out = empty((2, 4), dtype)
        run("Tile", row, whole(2, 2), out=out)
        assert exact(out).tolist() == [[1, 2, 1, 2]] * 2
        out = empty((2, 2), dtype)
        run("Fill", whole(2, 2), tensor(7, dtype), out=out)
        assert exact(out).tolist() == [[7, 7]] * 2
        out = empty((2, 1), dtype)
        run("Transpose", row, whole(1, 0), out=out)
        assert exact(out).tolist() == [[1], [2]]
    with refused("does not broadcast", GE_FAILURE):
        run("BroadcastTo", row, whole(2, 3), out=empty((2, 3), INT64))
    with refused("inferred: .2, 2.", GE_FAILURE):
        run("Fill", whole(2, 2), tensor(7), out=empty((4,), INT64))
    with refused("one value", GE_FAILURE):
        run("Fill", whole(2), tensor([7, 8]), out=empty((2,), INT64))
    with refused("an order of 2 dimensions", GE_FAILURE):
        run("Transpose", row, whole(0, 0), out=out)


def test_sequences_and_casts():
    for dtype in DTYPES:
        out = empty((4,), dtype)
        run("Range", *(tensor(value, dtype) for value in (1, 9, 2)), out=out)
        assert exact(out).tolist() == [1, 3, 5, 7]
    with refused("inferred: .4,", GE_FAILURE):
        run("Range", tensor(1), tensor(9), tensor(2), out=empty((5,), INT64))
    out = empty((2,), INT32)
    run("Cast", tensor([2.9, -2.9], BFLOAT16), out=out, dst_type=3)
    assert out.array.tolist() == [2, -2]
    with refused("dtype int32, expected int64", GE_FAILURE):
        run("Cast", tensor([1.0, 2.0]), out=out, dst_type=9)
    with refused("dst_type: 99", ATTRIBUTE_NOT_MATCH):
        run("Cast", tensor([1.0]), out=out, dst_type=99)


def test_sums():
    for dtype in DTYPES:
        given = tensor([[1, 2, 3], [4, 5, 6]], dtype)
        for axes, keep, wanted in (([1], True, [[6], [15]]), ([0], False, [5, 7, 9]), ([0, -1], False, 21)):
            out = empty(np.shape(wanted), dtype)
            run("ReduceSum", given, whole(*axes), out=out, keep_dims=keep)
            assert exact(out).tolist() == wanted
        out = empty((2, 3), dtype)
        run("ReduceSum", given, tensor([], INT64), out=out)  # no axes: nothing to do
        assert exact(out).tolist() == exact(given).tolist()
        out = empty((), dtype)
        run("ReduceSum", given, tensor([], INT64), out=out, noop_with_empty_axes=False)
        assert exact(out) == 21
    with refused("dtype bool", GE_FAILURE):
        run("ReduceSum", tensor([True]), whole(0), out=empty((), BOOL))
    with refused("axes: 2, allowed: -2 to 1", GE_FAILURE):
        run("ReduceSum", given, whole(2), out=empty((2, 3), INT64))


# One call of each legacy operator that GE compiles, for the tests below
FLOAT_ROWS = counted((2, 3))
CALLS = {
    "ScatterUpdate": ([counted((4, 2)), whole(0), counted((1, 2))], [(4, 2)], {}),
    "GatherV2": ([FLOAT_ROWS, whole(0), tensor(0)], [(1, 3)], {}),
    "GatherNd": ([FLOAT_ROWS, tensor([[0]])], [(1, 3)], {}),
    "TensorScatterUpdate": ([FLOAT_ROWS, tensor([[0]]), counted((1, 3))], [(2, 3)], {}),
    "TopK": ([FLOAT_ROWS, tensor(2, INT32)], [(2, 2), (2, 2)], {}),
    "TopKV2": ([FLOAT_ROWS, tensor(2, INT32)], [(2, 2), (2, 2)], {}),
    "ArgMaxV2": ([FLOAT_ROWS, tensor(1)], [(2,)], {}),
    "Cumsum": ([FLOAT_ROWS, tensor(1)], [(2, 3)], {}),
    "OneHot": ([whole(1, 0), whole(3), tensor([1], FLOAT32), tensor([0], FLOAT32)], [(2, 3)], {}),
    "StridedSlice": ([FLOAT_ROWS, whole(0), whole(1), whole(1)], [(1, 3)], {}),
    "Transpose": ([FLOAT_ROWS, whole(1, 0)], [(3, 2)], {}),
    "Pack": ([FLOAT_ROWS, FLOAT_ROWS], [(2, 2, 3)], {}),
    "ConcatD": ([FLOAT_ROWS, FLOAT_ROWS], [(4, 3)], {"concat_dim": 0}),
    "SplitV": ([FLOAT_ROWS, whole(1, 2), tensor(1)], [(2, 1), (2, 2)], {"num_split": 2}),
    "BroadcastTo": ([FLOAT_ROWS, whole(4, 2, 3)], [(4, 2, 3)], {}),
    "Tile": ([FLOAT_ROWS, whole(2, 1)], [(4, 3)], {}),
    "Fill": ([whole(2), tensor(1, FLOAT32)], [(2,)], {}),
    "Range": ([tensor(v, FLOAT32) for v in (0, 3, 1)], [(3,)], {}),
    "Cast": ([FLOAT_ROWS], [(2, 3)], {"dst_type": 0}),
    "ReduceSum": ([FLOAT_ROWS, whole(1)], [(2,)], {}),
    **{name: ([FLOAT_ROWS, FLOAT_ROWS], [(2, 3)], {}) for name in (*ELEMENTWISE, *COMPARISONS, "Div")},
    "LogicalAnd": ([tensor([True]), tensor([True])], [(1,)], {}),
    "LogicalOr": ([tensor([True]), tensor([True])], [(1,)], {}),
}
RESULTS = {"ArgMaxV2": INT64, **dict.fromkeys((*COMPARISONS, "LogicalAnd", "LogicalOr"), BOOL)}


def prepared(name):
    inputs, shapes, attributes = CALLS[name]
    inputs = [tensor(given.array.copy(), None, given.name) for given in inputs]
    outs = [empty(shape, RESULTS.get(name, FLOAT32), f"output {i}") for i, shape in enumerate(shapes)]
    if name.startswith("TopK"):
        outs[1] = empty(shapes[1], INT32)
    return inputs, outs, attributes


def test_every_legacy_operator_has_a_call():
    assert {name for kind, name in OPERATORS if kind == "aclop"} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_what_ge_compiles_and_what_it_refuses(name):
    inputs, outs, attributes = prepared(name)
    run(name, *inputs, out=outs, **attributes)
    for place, out in enumerate(outs):
        for shape in ((*out.shape, 2), (9, 7)):
            wrong = [*outs[:place], empty(shape, out.dtype), *outs[place + 1 :]]
            with refused("inferred|fits|broadcast", GE_FAILURE):
                run(name, *prepared(name)[0], out=wrong, **attributes)
        wrong = [*outs[:place], empty(out.shape, FLOAT64), *outs[place + 1 :]]
        with refused("dtype float64", GE_FAILURE):
            run(name, *prepared(name)[0], out=wrong, **attributes)
    with (
        refused("inputs, allowed", INPUT_NOT_MATCH)
        if name not in ("Pack", "ConcatD")
        else refused("0 inputs", INPUT_NOT_MATCH)
    ):
        run(name, *([] if name in ("Pack", "ConcatD") else inputs[:-1]), out=outs, **attributes)
    with refused("attributes colour: unknown", ATTRIBUTE_NOT_MATCH):
        run(name, *inputs, out=outs, colour=1, **attributes)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("Pack", "ConcatD", "Cast")])
def test_an_input_of_another_dtype_does_not_compile(name):
    inputs, outs, attributes = prepared(name)
    for place, given in enumerate(inputs):
        # ArgMaxV2 is registered for complex values, not for bool
        odd = tensor(given.array.astype(BOOL if name == "ArgMaxV2" else np.complex128), None, given.name)
        with refused("dtype complex128|dtype float32|dtype bool|dtype int64|dtype int32", GE_FAILURE):
            run(name, *inputs[:place], odd, *inputs[place + 1 :], out=outs, **attributes)


def test_limits_of_values():
    with refused("allowed: one value", GE_FAILURE):
        run("GatherV2", FLOAT_ROWS, whole(0), whole(0, 1), out=empty((1, 3), FLOAT32))
    with refused("expected .1, 2.", GE_FAILURE):
        run("TensorScatterUpdate", counted((4, 2)), tensor([[0]]), counted((1, 3)), out=empty((4, 2), FLOAT32))
    with refused("begin: 3 numbers", GE_FAILURE):
        run("StridedSlice", FLOAT_ROWS, whole(0, 0, 0), whole(1, 1, 1), whole(1, 1, 1), out=empty((1, 1), FLOAT32))
    with refused("at least 2 numbers", GE_FAILURE):
        run("Tile", FLOAT_ROWS, whole(2), out=empty((4, 3), FLOAT32))
    with refused("allowed: 0 and more", GE_FAILURE):
        run("Tile", FLOAT_ROWS, whole(-1, 1), out=empty((0, 3), FLOAT32))
    with refused("delta.: 0", GE_FAILURE):
        run("Range", tensor(0), tensor(3), tensor(0), out=empty((3,), INT64))
    with refused("is_closed", NOT_EMULATED):
        run("Range", tensor(0), tensor(3), tensor(1), out=empty((3,), INT64), is_closed=True)
    with refused("expected .2, 3.", GE_FAILURE):
        run("Pack", FLOAT_ROWS, counted((2, 2)), out=empty((2, 2, 3), FLOAT32))
    with refused("axis: 2, allowed", GE_FAILURE):
        run("Cumsum", FLOAT_ROWS, tensor(2), out=empty((2, 3), FLOAT32))
    with refused("allowed: 1 to 8 dimensions", GE_FAILURE):
        run("ScatterUpdate", tensor(1.0, FLOAT32), whole(0), tensor([1], FLOAT32), out=empty((), FLOAT32))
    with refused("expected that of input 0, float32", GE_FAILURE):
        run("ScatterUpdate", counted((4, 2)), whole(0), counted((1, 2), FLOAT16), out=empty((4, 2), FLOAT32))
    with refused("last dimension is allowed up to 2", GE_FAILURE):
        run("TensorScatterUpdate", FLOAT_ROWS, tensor([[0, 0, 0]]), counted((1,)), out=empty((2, 3), FLOAT32))
    with refused("expected int64", GE_FAILURE):
        run("Range", tensor(0), tensor(3, FLOAT32), tensor(1), out=empty((3,), INT64))
    with refused("expected float32", GE_FAILURE):
        run("ConcatD", FLOAT_ROWS, counted((2, 3), INT64), out=empty((4, 3), FLOAT32), concat_dim=0)
