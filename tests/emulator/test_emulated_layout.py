"""Emulated moving of values against loops and plain Python lists, and the limits."""

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
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT16,
    DeviceTensor,
)
from ascend_emulator.operators.repeating import INNER_NULLPTR
from emulated_calls import call, empty, exact, refused, tensor

DTYPES = (FLOAT32, FLOAT16, BFLOAT16, INT32, INT64, BOOL)


def counted(shape, dtype=FLOAT32, name="self"):
    return tensor(np.arange(np.prod(shape)).reshape(shape) % (2 if dtype == BOOL else 97), dtype, name)


@pytest.mark.parametrize("dims", [(0, 1, 2), (2, 0, 1), (-1, 1, 0)])
def test_permute(dims):
    for dtype in DTYPES:
        given = counted((2, 3, 4), dtype)
        shape = tuple(given.shape[axis] for axis in dims)
        out = empty(shape, dtype)
        call("aclnnPermute", self=given, dims=list(dims), out=out)
        for place in itertools.product(*map(range, shape)):
            source = [0, 0, 0]
            for axis, at in zip(dims, place, strict=True):
                source[axis] = at
            assert out.array[place] == given.array[tuple(source)]
    with refused("expected .2, 3, 4."):
        call("aclnnPermute", self=counted((2, 3, 4)), dims=[0, 1, 2], out=empty((4, 3, 2), FLOAT32))
    with refused("named twice"):
        call("aclnnPermute", self=counted((2, 3, 4)), dims=[0, 0, 2], out=empty((2, 2, 4), FLOAT32))
    with refused("dims: 3"):
        call("aclnnPermute", self=counted((2, 3, 4)), dims=[0, 1, 3], out=empty((2, 3, 4), FLOAT32))
    with refused("all 3 dimensions"):
        call("aclnnPermute", self=counted((2, 3, 4)), dims=[0, 1], out=empty((2, 3), FLOAT32))
    with refused("expected that of"):
        call("aclnnPermute", self=counted((2,)), dims=[0], out=empty((2,), FLOAT16))
    call("aclnnPermute", self=tensor(3.0, FLOAT32), dims=[], out=empty((), FLOAT32))


def test_cast_truncates_and_turns_nan_to_zero():
    given = [2.9, -2.9, 0.5, -0.5, math.nan, 1e30, -1e30]
    for dtype in (INT32, INT64):
        out, limits = empty((7,), dtype), np.iinfo(dtype)
        call("aclnnCast", self=tensor(given, FLOAT32), dtype=dtype, out=out)
        assert out.array.tolist() == [2, -2, 0, 0, 0, limits.max, limits.min]
    out = empty((3,), INT32)
    call("aclnnCast", self=tensor([1.75, -3.5, 100], BFLOAT16), dtype=INT32, out=out)
    assert out.array.tolist() == [1, -3, 100]
    out = empty((2,), FLOAT16)
    call("aclnnCast", self=tensor([2049, 1e6], FLOAT32), dtype=FLOAT16, out=out)
    assert out.array.tolist() == [2048, math.inf]  # half to even; too large
    out = empty((2,), BFLOAT16)
    call("aclnnCast", self=tensor([257.0, 259.0], FLOAT32), dtype=BFLOAT16, out=out)
    assert exact(out).tolist() == [256, 260]
    out = empty((3,), BOOL)
    call("aclnnCast", self=tensor([0, 0.25, -3], FLOAT32), dtype=BOOL, out=out)
    assert out.array.tolist() == [False, True, True]
    out = empty((2,), INT8)
    call("aclnnCast", self=tensor([300, -129], INT64), dtype=INT8, out=out)
    assert out.array.tolist() == [44, 127]  # the low bits
    out = empty((2,), FLOAT32)
    call("aclnnCast", self=tensor([True, False]), dtype=FLOAT32, out=out)
    assert out.array.tolist() == [1, 0]
    for shape in ((), (0, 2)):
        call("aclnnCast", self=tensor(np.ones(shape), FLOAT32), dtype=INT32, out=empty(shape, INT32))


def test_limits_of_cast():
    given = tensor([[1.0, 2.0]], FLOAT32)
    with refused("dtype: int32, expected that of out"):
        call("aclnnCast", self=given, dtype=INT32, out=empty((1, 2), INT64))
    with refused(r"shape \(2,\), expected \(1, 2\)"):
        call("aclnnCast", self=given, dtype=INT32, out=empty((2,), INT32))
    with refused("format NCHW, expected that of self, ND"):
        other = DeviceTensor("out", np.zeros((1, 2), INT32), "NCHW")
        call("aclnnCast", self=given, dtype=INT32, out=other)
    view = tensor(np.ones((2, 4), np.bool_)[:, ::2], None, "self")
    with refused("bool and not contiguous"):
        call("aclnnCast", self=view, dtype=FLOAT32, out=empty((2, 2), FLOAT32))
    call("aclnnCast", self=tensor(np.ones((2, 4), INT32)[:, ::2]), dtype=FLOAT32, out=empty((2, 2), FLOAT32))


def test_copy():
    for dtype in DTYPES:
        place = tensor(np.zeros((2, 6), dtype)[:, ::2], None, "selfRef")
        call("aclnnInplaceCopy", selfRef=place, src=tensor([[1], [0]], dtype))
        assert exact(place).tolist() == [[1, 1, 1], [0, 0, 0]]
    whole = empty((2,), INT32, "selfRef")
    call("aclnnInplaceCopy", selfRef=whole, src=tensor([2.9, -2.9], BFLOAT16))
    assert whole.array.tolist() == [2, -2]
    with refused("expected the broadcast shape"):
        call("aclnnInplaceCopy", selfRef=empty((1,), FLOAT32), src=tensor([1.0, 2.0], FLOAT32))
    with refused("src: dtype float32, not convertible to that of selfRef, bool"):
        call("aclnnInplaceCopy", selfRef=empty((1,), BOOL), src=tensor([1.0], FLOAT32))
    with refused("complex64 and not contiguous"):
        view = tensor(np.zeros(4, COMPLEX64)[::2], None, "selfRef")
        call("aclnnInplaceCopy", selfRef=view, src=tensor([1, 2], COMPLEX64))


def test_expand():
    for dtype in (FLOAT32, FLOAT16, BFLOAT16, INT64, BOOL, INT8):
        out = empty((2, 3, 2), dtype)
        call("aclnnExpand", self=tensor([[1], [0], [1]], dtype), size=[2, -1, 2], out=out)
        assert exact(out).tolist() == [[[1, 1], [0, 0], [1, 1]]] * 2
    with refused("does not expand"):
        call("aclnnExpand", self=counted((3,)), size=[4], out=empty((4,), FLOAT32))
    with refused("at least 2 numbers"):
        call("aclnnExpand", self=counted((3, 1)), size=[3], out=empty((3,), FLOAT32))
    with refused("expected .2, 3."):
        call("aclnnExpand", self=counted((3,)), size=[2, 3], out=empty((3, 3), FLOAT32))
    with refused("dtype int16"):
        call("aclnnExpand", self=counted((3,), INT16), size=[3], out=empty((3,), INT16))


def test_flip_and_roll():
    given, out = counted((2, 3)), empty((2, 3), FLOAT32)
    call("aclnnFlip", self=given, dims=[-1], out=out)
    assert out.array.tolist() == [[2, 1, 0], [5, 4, 3]]
    call("aclnnFlip", self=given, dims=[0, 1], out=out)
    assert out.array.tolist() == [[5, 4, 3], [2, 1, 0]]
    call("aclnnRoll", x=given, shifts=[1], dims=[1], out=out)
    assert out.array.tolist() == [[2, 0, 1], [5, 3, 4]]
    call("aclnnRoll", x=given, shifts=[-1], dims=[], out=out)
    assert out.array.tolist() == [[1, 2, 3], [4, 5, 0]]
    with refused("shifts: .1., expected 2"):
        call("aclnnRoll", x=given, shifts=[1], dims=[0, 1], out=out)
    with refused("dims: 2"):
        call("aclnnRoll", x=given, shifts=[1], dims=[2], out=out)
    with refused("dtype complex64"):
        call("aclnnRoll", x=tensor([1], COMPLEX64), shifts=[1], dims=[0], out=empty((1,), COMPLEX64))
    with refused("named twice"):
        call("aclnnFlip", self=given, dims=[1, -1], out=out)


@pytest.mark.parametrize("axis", [0, -1])
def test_cat(axis):
    for dtype in DTYPES:
        parts = [counted((2, 3), dtype), tensor(np.zeros((0,)), dtype), counted((2, 3), dtype)]
        out = empty((4, 3) if axis == 0 else (2, 6), dtype)
        call("aclnnCat", tensors=parts, dim=axis, out=out)
        rows = exact(parts[0]).tolist()
        assert exact(out).tolist() == (rows + rows if axis == 0 else [row + row for row in rows])
    out = empty((2,), FLOAT32)  # promoted
    call("aclnnCat", tensors=[tensor([1], INT64), tensor([0.5], FLOAT32)], dim=0, out=out)
    assert out.array.tolist() == [1, 0.5]


def test_limits_of_joining():
    one, out = counted((2, 3)), empty((4, 3), FLOAT32)
    with refused("must be .2, 3. but for dimension 0"):
        call("aclnnCat", tensors=[one, counted((2, 2))], dim=0, out=out)
    with refused("dim: 2"):
        call("aclnnCat", tensors=[one, one], dim=2, out=out)
    with refused("expected .2, 6."):
        call("aclnnCat", tensors=[one, one], dim=1, out=out)
    with refused("not converted"):
        call("aclnnCat", tensors=[one, one], dim=0, out=empty((4, 3), INT32))
    with refused("dtype uint16"):
        call("aclnnCat", tensors=[counted((1,), UINT16)], dim=0, out=empty((1,), UINT16))
    with refused("allowed: 1 to 8 dimensions"):
        call("aclnnCat", tensors=[tensor(1.0, FLOAT32)], dim=0, out=empty((1,), FLOAT32))
    with refused("none given"):
        call("aclnnStack", tensors=[], dim=0, out=out)
    with refused("expected .2, 3."):
        call("aclnnStack", tensors=[one, counted((2, 2))], dim=0, out=empty((2, 2, 3), FLOAT32))
    with refused("dim: 3, allowed: -3 to 2"):
        call("aclnnStack", tensors=[one, one], dim=3, out=empty((2, 2, 3), FLOAT32))
    with refused("allowed: 0 to 7 dimensions"):
        deep = tensor(np.ones((1,) * 8), FLOAT32)
        call("aclnnStack", tensors=[deep], dim=0, out=empty((1,) * 9, FLOAT32))


@pytest.mark.parametrize("axis", [0, 1, -1, -3])
def test_stack(axis):
    for dtype in DTYPES:
        parts = [counted((2, 3), dtype), tensor(np.zeros((2, 3)), dtype)]
        shape = [2, 3]
        shape.insert(axis if axis >= 0 else axis + 3, 2)
        out = empty(shape, dtype)
        call("aclnnStack", tensors=parts, dim=axis, out=out)
        for i, part in enumerate(parts):
            assert np.array_equal(exact(out).take(i, axis), exact(part))


def test_splitting():
    for dtype in DTYPES:
        given = counted((2, 6), dtype)
        outs = [empty((2, n), dtype) for n in (1, 0, 5)]
        call("aclnnSplitWithSize", self=given, splitSize=[1, 0, 5], dim=-1, out=outs)
        rows = exact(given).tolist()
        assert exact(outs[0]).tolist() == [row[:1] for row in rows]
        assert exact(outs[2]).tolist() == [row[1:] for row in rows]
        outs = [empty((2, n), dtype) for n in (4, 2)]
        call("aclnnSplitTensor", self=given, splitSections=4, dim=1, out=outs)
        assert exact(outs[1]).tolist() == [row[4:] for row in rows]
    given, outs = counted((2, 6)), [empty((2, 3), FLOAT32) for _ in range(2)]
    with refused("their sum must be 6"):
        call("aclnnSplitWithSize", self=given, splitSize=[3, 2], dim=1, out=outs)
    with refused("2 tensors, expected 3"):
        call("aclnnSplitWithSize", self=given, splitSize=[3, 2, 1], dim=1, out=outs)
    with refused("dim: 2"):
        call("aclnnSplitWithSize", self=given, splitSize=[3, 3], dim=2, out=outs)
    deep = tensor(np.ones((1,) * 9), FLOAT32, "self")
    with refused("self: shape .*allowed: at most 8 dimensions"):
        call("aclnnSplitWithSize", self=deep, splitSize=[1], dim=0, out=[deep])
    with refused("splitSections: 0, dimension 1 has 6"):
        call("aclnnSplitTensor", self=given, splitSections=0, dim=1, out=outs)
    for dtype, count in ((FLOAT64, 32), (FLOAT32, 33)):
        call("aclnnSplitTensor", self=counted((count,), dtype), splitSections=1, out=[empty((1,), dtype)] * count)
    with refused("dtype float64"):  # more than 32 outputs
        call("aclnnSplitTensor", self=counted((33,), FLOAT64), splitSections=1, out=[empty((1,), FLOAT64)] * 33)


def test_repeat():
    for dtype in DTYPES:
        out = empty((2, 2, 6), dtype)
        call("aclnnRepeat", self=tensor([[1, 0], [0, 1]], dtype), repeats=[2, 1, 3], out=out)
        assert exact(out).tolist() == [[[1, 0] * 3, [0, 1] * 3]] * 2
    one = tensor(np.ones((1,) * 5), FLOAT32)
    call("aclnnRepeat", self=one, repeats=[2, 2, 1, 2, 2], out=empty((2, 2, 1, 2, 2), FLOAT32))
    with refused("5 dimensions are repeated, allowed: 4", INNER_NULLPTR):
        call("aclnnRepeat", self=one, repeats=[2] * 5, out=empty((2,) * 5, FLOAT32))
    with refused("4 dimensions are repeated, allowed: 3", INNER_NULLPTR):
        call("aclnnRepeat", self=one, repeats=[1, 2, 2, 2, 2], out=empty((1, 2, 2, 2, 2), FLOAT32))
    with refused("allowed: 5 to 8 numbers"):
        call("aclnnRepeat", self=one, repeats=[2], out=empty((2,), FLOAT32))
    with refused("allowed: 0 and more"):
        call("aclnnRepeat", self=counted((2,)), repeats=[-1], out=empty((0,), FLOAT32))


def test_repeating_each_value():
    for dtype in (FLOAT32, FLOAT16, BFLOAT16, INT64, BOOL, UINT8):
        given = tensor([[1, 0], [0, 1]], dtype)
        out = empty((8,), dtype)
        call("aclnnRepeatInterleaveInt", self=given, repeats=2, outputSize=8, out=out)
        assert exact(out).tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
        out = empty((4,), dtype)
        call("aclnnRepeatInterleave", self=given, repeats=tensor([2, 0, 0, 2], INT64), outputSize=4, out=out)
        assert exact(out).tolist() == [1, 1, 1, 1]
        out = empty((2, 3), dtype)
        call("aclnnRepeatInterleaveWithDim", self=given, repeats=tensor([1, 2], INT32), dim=-1, outputSize=3, out=out)
        assert exact(out).tolist() == [[1, 0, 0], [0, 1, 1]]
        out = empty((4, 2), dtype)
        call("aclnnRepeatInterleaveIntWithDim", self=given, repeats=2, dim=0, outputSize=4, out=out)
        assert exact(out).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    with refused("outputSize: 7, expected 8"):
        call("aclnnRepeatInterleaveInt", self=given, repeats=2, outputSize=7, out=empty((7,), UINT8))
    with refused("repeats: 3 numbers, allowed: 1 or 4"):
        call("aclnnRepeatInterleave", self=given, repeats=tensor([1, 1, 1]), outputSize=3, out=empty((3,), UINT8))
    with refused("out: shape .5,., expected .4,."):  # the numbers are on the device: asked when it runs
        numbers = tensor([2, 0, 0, 2], INT64)
        call("aclnnRepeatInterleave", self=given, repeats=numbers, outputSize=5, out=empty((5,), UINT8))
    with refused("dim: 2"):
        call("aclnnRepeatInterleaveIntWithDim", self=given, repeats=2, dim=2, outputSize=4, out=empty((4, 2), UINT8))


@pytest.mark.parametrize("start, end, step", [(0, 4, 1), (1, 4, 2), (-3, -1, 1), (-9, 99, 3), (3, 1, 1), (2, 2, 1)])
def test_slice(start, end, step):
    for dtype in (FLOAT32, BFLOAT16, INT64, BOOL):
        given = counted((2, 5), dtype)
        wanted = [row[start:end:step] for row in exact(given).tolist()]
        out = empty((2, len(wanted[0])), dtype)
        call("aclnnSlice", self=given, dim=1, start=start, end=end, step=step, out=out)
        assert exact(out).tolist() == wanted


def test_limits_of_slices():
    given, out = counted((2, 5)), empty((2, 2), FLOAT32)
    with refused("step: 0"):
        call("aclnnSlice", self=given, dim=1, start=0, end=2, step=0, out=out)
    with refused("dim: -3"):
        call("aclnnSlice", self=given, dim=-3, start=0, end=2, step=1, out=out)
    with refused("expected .2, 3."):
        call("aclnnSlice", self=given, dim=1, start=0, end=3, step=1, out=out)
    with refused("dtype int16"):
        call("aclnnSlice", self=counted((2, 5), INT16), dim=1, start=0, end=2, step=1, out=empty((2, 2), INT16))
    with refused("allowed: 1 to 8 dimensions"):
        call("aclnnSlice", self=tensor(1.0, FLOAT32), dim=0, start=0, end=1, step=1, out=empty((), FLOAT32))


@pytest.mark.parametrize("pad", [[], [1, 2], [0, 1, 2, 0], [-1, 1], [-2, -1, 1, 0]])
def test_constant_padding(pad):
    for dtype in DTYPES:
        given = counted((2, 4), dtype)
        rows = exact(given).tolist()
        widths = list(pad) + [0] * (4 - len(pad))

        def padded(line, low, high, fill):
            line = [fill] * low + line[max(0, -low) :]
            return line + [fill] * high if high >= 0 else line[:high]

        rows = [padded(row, widths[0], widths[1], 1.0) for row in rows]
        rows = padded(rows, widths[2], widths[3], [1.0] * len(rows[0]))
        out = empty(np.shape(rows), dtype)
        call("aclnnConstantPadNd", self=given, pad=pad, value=1, out=out)
        assert exact(out).tolist() == rows


def test_limits_of_padding():
    given = counted((2, 4))
    with refused("an even count of at most 4"):
        call("aclnnConstantPadNd", self=given, pad=[1], value=0, out=empty((2, 5), FLOAT32))
    with refused("an even count of at most 4"):
        call("aclnnConstantPadNd", self=given, pad=[0] * 6, value=0, out=empty((2, 4), FLOAT32))
    with refused("the output's shape would be"):
        call("aclnnConstantPadNd", self=given, pad=[-3, -2], value=0, out=empty((2, 0), FLOAT32))
    with refused("expected .2, 5."):
        call("aclnnConstantPadNd", self=given, pad=[1, 0], value=0, out=empty((2, 4), FLOAT32))
    with refused("no common dtype"):
        call("aclnnConstantPadNd", self=given, pad=[0, 0], value=np.uint16(1), out=empty((2, 4), FLOAT32))
