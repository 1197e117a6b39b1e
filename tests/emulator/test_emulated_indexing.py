"""Emulated reading and writing by position against loops over the positions, and their limits."""

import itertools

import numpy as np
import pytest
from ascend_emulator.arguments import TENSOR, Argument
from ascend_emulator.arguments import tensor as argument_tensor
from ascend_emulator.device_tensor import BFLOAT16, BOOL, FLOAT16, FLOAT32, FLOAT64, INT8, INT32, INT64, UINT8, UINT16
from ascend_emulator.refusal import RUNTIME_ERROR
from ascend_emulator.table import arguments
from emulated_calls import call, empty, exact, operator, refused, tensor

DTYPES = (FLOAT32, FLOAT16, BFLOAT16, INT32, INT64, BOOL)


def counted(shape, dtype=FLOAT32, name="self"):
    return tensor(np.arange(np.prod(shape)).reshape(shape) % (2 if dtype == BOOL else 97), dtype, name)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("index", [3, [], [1], [0, 4, 4], [[1, 2], [3, 0]]])
def test_embedding(index, dtype):
    for index_dtype in (INT32, INT64):
        table, rows = counted((5, 3), dtype), tensor(index, index_dtype, "indices")
        wanted = np.array([exact(table)[i].tolist() for i in rows.array.reshape(-1)]).reshape(*rows.shape, 3)
        out = empty((*rows.shape, 3), dtype)
        call("aclnnEmbedding", weight=table, indices=rows, out=out)
        assert exact(out).tolist() == wanted.tolist()


def test_limits_of_embedding():
    table, out = counted((5, 3)), empty((1, 3), FLOAT32)
    for wrong in (-1, 5):
        with refused(f"values from {wrong} to {wrong}, allowed: 0 to 4", RUNTIME_ERROR):
            call("aclnnEmbedding", weight=table, indices=tensor([wrong], INT32), out=out)
    with refused("allowed: 2 dimensions"):
        call("aclnnEmbedding", weight=counted((5,)), indices=tensor([0], INT32), out=out)
    with refused("dtype uint8"):
        call("aclnnEmbedding", weight=table, indices=tensor([0], UINT8), out=out)
    with refused("expected that of"):
        call("aclnnEmbedding", weight=table, indices=tensor([0], INT32), out=empty((1, 3), FLOAT16))
    with refused(r"expected \(1, 3\)"):
        call("aclnnEmbedding", weight=table, indices=tensor([0], INT32), out=empty((3,), FLOAT32))


def taken(values, axis, index):
    """One element at a time."""
    axis %= values.ndim
    shape = values.shape[:axis] + index.shape + values.shape[axis + 1 :]
    result = np.zeros(shape)
    for place in itertools.product(*map(range, shape)):
        before, at, after = place[:axis], place[axis : axis + index.ndim], place[axis + index.ndim :]
        result[place] = values[(*before, int(index[at]), *after)]
    return result


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_rows_along_a_dimension(axis):
    for dtype in DTYPES:
        given = tensor(counted((4, 3, 4), dtype).array[::-1, :, ::2], None, "self")
        for index in ([1, 0, 0], [], [1]):
            places = tensor(index, INT64, "index")
            wanted = taken(exact(given), axis, places.array)
            out = empty(wanted.shape, dtype)
            call("aclnnIndexSelect", self=given, dim=axis, index=places, out=out)
            assert exact(out).tolist() == wanted.tolist()


def test_limits_of_rows():
    given, out = counted((2, 3)), empty((2, 1), FLOAT32)
    with refused("values from 3 to 3, allowed: 0 to 2", RUNTIME_ERROR):
        call("aclnnIndexSelect", self=given, dim=1, index=tensor([3], INT32), out=out)
    with refused("dim: 2, allowed: -2 to 1"):
        call("aclnnIndexSelect", self=given, dim=2, index=tensor([0], INT32), out=out)
    with refused("expected .1, 3."):
        call("aclnnIndexSelect", self=given, dim=0, index=tensor([0], INT32), out=out)
    with refused("allowed: 0 to 1 dimensions"):
        call("aclnnIndexSelect", self=given, dim=1, index=tensor([[0]], INT32), out=out)
    call("aclnnIndexSelect", self=counted((2, 3), UINT16), dim=1, index=tensor(0, INT32), out=empty((2, 1), UINT16))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_elements_along_a_dimension(axis):
    for dtype in DTYPES:
        given = counted((3, 4), dtype)
        index = tensor([[0, -1], [1, 2]], INT32, "index")
        out = empty((2, 2), dtype)
        call("aclnnGather", self=given, dim=axis, index=index, out=out)
        for i, j in itertools.product(range(2), range(2)):
            at = int(index.array[i, j])
            assert exact(out)[i, j] == (exact(given)[at, j] if axis == 0 else exact(given)[i, at])


def test_limits_of_elements():
    given = counted((3, 4))

    def gather(index, dim=0, x=given, out=None):
        call("aclnnGather", self=x, dim=dim, index=index, out=out or empty(index.shape, x.dtype))

    with refused("values from 3 to 3, allowed: -3 to 2", RUNTIME_ERROR):
        gather(tensor([[3]], INT64))
    with refused("dimension 1 is longer"):
        gather(tensor(np.zeros((1, 5)), INT64))
    with refused("needs 2 dimensions"):
        gather(tensor([0], INT64))
    with refused("expected .1, 1."):
        gather(tensor([[0]], INT64), out=empty((1,), FLOAT32))
    with refused("dimension 0 is empty"):
        gather(tensor([[0]], INT64), x=counted((0, 4)))
    with refused("dtype complex"):
        gather(tensor([[0]], INT64), x=tensor([[1j]]))


def test_lists_of_positions():
    given = counted((4, 5, 2))
    rows, columns = tensor([[0], [3]], INT64), tensor([1, -1, 2], INT32)
    out = empty((2, 3, 2), FLOAT32)
    call("aclnnIndex", self=given, indices=[rows, columns], out=out)
    for i, j in itertools.product(range(2), range(3)):
        assert out.array[i, j].tolist() == given.array[[0, 3][i], [1, 4, 2][j]].tolist()
    mask = tensor(given.array[:, :, 0] % 4 == 0)
    out = empty((int(mask.array.sum()), 2), FLOAT32)
    call("aclnnIndex", self=given, indices=[mask], out=out)
    wanted = [given.array[i, j].tolist() for i, j in itertools.product(range(4), range(5)) if mask.array[i, j]]
    assert out.array.tolist() == wanted
    with refused("values from 4 to 4", RUNTIME_ERROR):
        call("aclnnIndex", self=given, indices=[tensor([4], INT64)], out=empty((1, 5, 2), FLOAT32))
    with refused("3 tensors, allowed: 1 to 2"):
        call("aclnnIndex", self=counted((2, 2)), indices=[tensor([0], INT64)] * 3, out=empty((1,), FLOAT32))
    with refused(r"expected \(4,\)"):
        call("aclnnIndex", self=given, indices=[tensor([True])], out=empty((1, 5, 2), FLOAT32))
    with refused("dtype uint8"):
        call("aclnnIndex", self=given, indices=[tensor([0], UINT8)], out=empty((1, 5, 2), FLOAT32))


def test_writing_to_lists_of_positions():
    for accumulate, wanted in ((False, [0, 5, 7]), (True, [0, 5, 13])):
        given = tensor([0, 0, 0], FLOAT16, "selfRef")
        call(
            "aclnnIndexPutImpl",
            selfRef=given,
            indices=[tensor([1, 2, 2], INT64)],
            values=tensor([5, 6, 7], FLOAT16),
            accumulate=accumulate,
        )
        assert exact(given).tolist() == wanted
    with refused("expected that of"):
        call("aclnnIndexPutImpl", selfRef=tensor([0.0]), indices=[tensor([0])], values=tensor([1], FLOAT16))


def scattered(target, axis, index, source, combine):
    result = np.array(target)
    for place in itertools.product(*map(range, index.shape)):
        at = list(place)
        at[axis] = int(index[place])
        result[tuple(at)] = combine(result[tuple(at)], source[place])
    return result


COMBINE = {0: lambda old, new: new, 1: lambda old, new: old + new, 2: lambda old, new: old * new}


@pytest.mark.parametrize("reduce", COMBINE)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scatter(axis, reduce):
    index = tensor([[0, 2], [2, 0], [1, 1]], INT32, "index")
    for dtype in (FLOAT32, FLOAT16, BFLOAT16, INT32, INT64):
        given, source = counted((3, 3), dtype), tensor([[1, 2, 9], [3, 4, 9], [5, 6, 9]], dtype, "src")
        wanted = scattered(exact(given), axis, index.array, exact(source), COMBINE[reduce]).tolist()
        out = empty((3, 3), dtype)
        call("aclnnScatter", self=given, dim=axis, index=index, src=source, reduce=reduce, out=out)
        assert exact(out).tolist() == wanted
        ref = tensor(given.array.copy(), None, "selfRef")
        call("aclnnInplaceScatter", selfRef=ref, dim=axis, index=index, src=source, reduce=reduce)
        assert exact(ref).tolist() == wanted
        wanted = scattered(exact(given), axis, index.array, np.full((3, 2), 3), COMBINE[reduce]).tolist()
        call("aclnnScatterValue", self=given, dim=axis, index=index, value=3, reduce=reduce, out=out)
        assert exact(out).tolist() == wanted
        ref = tensor(given.array.copy(), None, "selfRef")
        call("aclnnInplaceScatterValue", selfRef=ref, dim=axis, index=index, value=3, reduce=reduce)
        assert exact(ref).tolist() == wanted
        if reduce == 1:
            wanted = scattered(exact(given), axis, index.array, exact(source), COMBINE[1]).tolist()
            call("aclnnScatterAdd", self=given, dim=axis, index=index, src=source, out=out)
            assert exact(out).tolist() == wanted


def test_adding_rows():
    for dtype in (FLOAT32, BFLOAT16, INT64):
        given, source = counted((3, 2), dtype), tensor([[1, 1], [2, 2], [4, 4]], dtype, "source")
        out = empty((3, 2), dtype)
        call("aclnnIndexAdd", self=given, dim=0, index=tensor([2, 0, 2], INT32), source=source, alpha=2, out=out)
        assert exact(out).tolist() == [[4, 5], [2, 3], [14, 15]]
    with refused("expected .2, 2."):
        call("aclnnIndexAdd", self=given, dim=0, index=tensor([2, 0], INT32), source=source, alpha=2, out=out)
    with refused("alpha: dtype float32, not convertible to int64"):
        call("aclnnIndexAdd", self=given, dim=0, index=tensor([2, 0, 2], INT32), source=source, alpha=0.5, out=out)


def test_limits_of_scatter():
    given, index, source, out = counted((3, 3)), tensor([[0]], INT64), tensor([[1.0]], FLOAT32), empty((3, 3), FLOAT32)

    def scatter(dim=0, index=index, source=source, reduce=0, out=out):
        call("aclnnScatter", self=given, dim=dim, index=index, src=source, reduce=reduce, out=out)

    with refused("values from 3 to 3", RUNTIME_ERROR):
        scatter(index=tensor([[3]], INT64))
    with refused("values from -1 to -1", RUNTIME_ERROR):
        scatter(index=tensor([[-1]], INT64))
    with refused("reduce: 3"):
        scatter(reduce=3)
    with refused("needs 2 dimensions"):
        scatter(index=tensor([0], INT64))
    with refused("dimension 0 is longer"):
        scatter(index=tensor([[0], [1]], INT64))
    with refused("dimension 1 is longer"):
        scatter(index=tensor([[0, 0, 0, 0]], INT64), source=tensor(np.ones((1, 4)), FLOAT32))
    with refused("expected that of"):
        scatter(source=tensor([[1]], INT32))
    with refused("dim: 2"):
        scatter(dim=2)
    with refused("complex"):
        call("aclnnScatterValue", self=given, dim=0, index=index, value=np.complex64(1j), reduce=0, out=out)
    with refused("not contiguous"):
        call("aclnnScatterAdd", self=given, dim=0, index=index, src=source, out=tensor(out.array.T, None, "out"))


def test_places_of_what_is_not_zero():
    for dtype in (FLOAT32, BFLOAT16, INT64, BOOL):
        given = tensor([[0, 1, 0], [1, 0, 1]], dtype)
        out = empty((6, 2), INT64)
        call("aclnnNonzero", self=given, out=out)
        assert out.array.reshape(-1)[:6].reshape(3, 2).tolist() == [[0, 1], [1, 0], [1, 2]]
        out = empty((2, 6), INT64)
        call("aclnnNonzeroV2", self=given, out=out)
        assert out.array.reshape(-1)[:6].reshape(2, 3).tolist() == [[0, 1, 1], [1, 0, 2]]
        out = empty((6,), dtype)
        call("aclnnMaskedSelect", self=given, mask=tensor([[True], [False]]), out=out)
        assert exact(out)[:3].tolist() == [0, 1, 0]
    with refused(r"expected \(6, 2\)"):
        call("aclnnNonzero", self=given, out=empty((3, 2), INT64))
    with refused("dtype int32"):
        call("aclnnNonzero", self=given, out=empty((6, 2), INT32))
    with refused(r"expected \(6,\)"):
        call("aclnnMaskedSelect", self=given, mask=tensor([True]), out=empty((3,), BOOL))


def struct_of(array, dims):
    """The C++ side's view of a tensor: dims as the last run left them, storage as it was made."""
    made = Argument(tag=TENSOR, dtype=9, ndim=2, format=2, offset=0, data=array.ctypes.data, size=array.size)
    made.dims[:2], made.strides[:2] = dims, (array.shape[1], 1)
    return made


def test_an_executor_that_runs_again_writes_more_than_the_last_time():
    memory = np.full((6, 2), 77, INT64)
    struct = struct_of(memory, (1, 2))
    given = tensor([[0, 1, 0], [1, 0, 1]], INT64)
    operator("aclnn", "aclnnNonzero").compute(arguments(self=given, out=argument_tensor(struct, "out")))
    assert memory.tolist() == [[0, 1], [1, 0], [1, 2], [77, 77], [77, 77], [77, 77]]
    assert struct.dims[:2] == [3, 2]
    small = np.full((2, 2), 77, INT64)
    with refused("storage of 4 elements, the result has 6"):
        out = argument_tensor(struct_of(small, (1, 2)), "out")
        operator("aclnn", "aclnnNonzero").compute(arguments(self=given, out=out))
    assert (small == 77).all()


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(axis):
    for dtype in (FLOAT32, FLOAT16, INT32, INT64):
        given = tensor([2, 0, 5], INT64)
        out = empty((4, 3) if axis == 0 else (3, 4), dtype)
        call(
            "aclnnOneHot",
            self=given,
            numClasses=4,
            onValue=tensor(7, dtype),
            offValue=tensor(1, dtype),
            axis=axis,
            out=out,
        )
        wanted = [[7 if place == value else 1 for place in range(4)] for value in (2, 0, 5)]
        assert (exact(out).T if axis == 0 else exact(out)).tolist() == wanted
    on = tensor(1, BFLOAT16)
    with refused("dtype bfloat16"):
        call("aclnnOneHot", self=given, numClasses=4, onValue=on, offValue=on, axis=-1, out=empty((3, 4), BFLOAT16))
    on, out = tensor(1, INT64), empty((3, 4), INT64)
    with refused("axis: 2, allowed: -1 to 1"):
        call("aclnnOneHot", self=given, numClasses=4, onValue=on, offValue=on, axis=2, out=out)
    with refused("numClasses: -1"):
        call("aclnnOneHot", self=given, numClasses=-1, onValue=on, offValue=on, axis=-1, out=out)
    with refused("dtype uint8"):
        call(
            "aclnnOneHot",
            self=tensor([1], UINT8),
            numClasses=4,
            onValue=on,
            offValue=on,
            axis=-1,
            out=empty((1, 4), INT64),
        )
    with refused("expected that of"):
        call("aclnnOneHot", self=given, numClasses=4, onValue=tensor(1, INT32), offValue=on, axis=-1, out=out)


def test_wide_dtypes_are_listed_where_documented():
    call(
        "aclnnScatter",
        self=tensor([[1.0]], FLOAT64),
        dim=0,
        index=tensor([[0]]),
        src=tensor([[2.0]], FLOAT64),
        out=empty((1, 1), FLOAT64),
    )
    with refused("dtype uint16"):
        call(
            "aclnnScatter",
            self=tensor([[1]], UINT16),
            dim=0,
            index=tensor([[0]]),
            src=tensor([[2]], UINT16),
            out=empty((1, 1), UINT16),
        )
    call("aclnnGather", self=tensor([[1]], UINT16), dim=0, index=tensor([[0]]), out=empty((1, 1), UINT16))
    call("aclnnIndexPutImpl", selfRef=tensor([1], INT8), indices=[tensor([0])], values=tensor([2], INT8))
