"""Emulated rotary embedding against complex numbers, writing into caches against loops, and their limits."""

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32
from ascend_emulator.refusal import INNER_ERROR
from ascend_emulator.table import find
from emulated_calls import HALVES, assert_near, call, empty, exact, random, refused, tensor


def angles(shape, dtype, interleaved=False):
    """cos and sin, each pair of places with one angle."""
    half = np.random.default_rng(3).uniform(-3, 3, (*shape[:-1], shape[-1] // 2))
    both = np.repeat(half, 2, -1) if interleaved else np.concatenate([half, half], -1)
    return tensor(np.cos(both), dtype, "cos"), tensor(np.sin(both), dtype, "sin")


def turned(x, cos, sin, interleaved=False):
    """Pairs as complex numbers, multiplied by cos + i sin."""
    dim = x.shape[-1]
    one, two = (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., : dim // 2], x[..., dim // 2 :])
    step = 2 if interleaved else 1
    c, s = (np.broadcast_to(t, x.shape)[..., : (dim if interleaved else dim // 2) : step] for t in (cos, sin))
    pairs = (one + 1j * two) * (c + 1j * s)
    return (
        np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)
        if interleaved
        else np.concatenate([pairs.real, pairs.imag], -1)
    )


@pytest.mark.parametrize("dtype", [*HALVES, FLOAT32])
@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize(
    "x, cos",
    [
        ((1, 1, 32, 128), (1, 1, 1, 128)),
        ((1, 7, 4, 128), (1, 7, 1, 128)),
        ((2, 4, 7, 72), (1, 1, 7, 72)),
        ((7, 2, 4, 6), (7, 1, 1, 6)),
    ],
)
def test_one_tensor(dtype, mode, x, cos):
    given = random(x, dtype)
    c, s = angles(cos, dtype, mode == 1)
    out = empty(x, dtype)
    call("aclnnRotaryPositionEmbedding", x=given, cos=c, sin=s, mode=mode, out=out)
    assert_near(out, turned(exact(given), exact(c), exact(s), mode == 1), 1.1, 2e-3 if dtype == BFLOAT16 else 2e-4)


def test_one_tensor_of_another_batch_and_an_empty_one():
    c, s = angles((2, 7, 1, 8), FLOAT16)
    given, out = random((2, 7, 4, 8), FLOAT16), empty((2, 7, 4, 8), FLOAT16)
    call("aclnnRotaryPositionEmbedding", x=given, cos=c, sin=s, out=out)
    assert_near(out, turned(exact(given), exact(c), exact(s)), 1.1, 2e-4)
    with refused("mode 1"):
        call("aclnnRotaryPositionEmbedding", x=given, cos=c, sin=s, mode=1, out=out)
    nothing = random((0, 7, 4, 8), FLOAT16)
    call("aclnnRotaryPositionEmbedding", x=nothing, cos=c, sin=s, out=empty((0, 7, 4, 8), FLOAT16))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"cos": random((1, 7, 1, 8), FLOAT32, name="cos")}, "cos: dtype float32, expected that of x"),
        ({"x": random((1, 7, 4, 8), np.float64, name="x")}, "x: dtype float64"),
        ({"sin": random((1, 1, 1, 8), FLOAT16, name="sin")}, "sin: shape"),
        ({"mode": 2}, "mode: 2"),
        ({"cos": random((1, 6, 1, 8), FLOAT16), "sin": random((1, 6, 1, 8), FLOAT16)}, "S must be that of x"),
        ({"cos": random((1, 7, 1, 4), FLOAT16), "sin": random((1, 7, 1, 4), FLOAT16)}, "cos: D 4"),
        ({"out": empty((1, 7, 4, 4), FLOAT16)}, "out: shape"),
        ({"out": tensor(np.zeros((1, 7, 8, 4), FLOAT16).swapaxes(2, 3), name="out")}, "out: not contiguous"),
        ({"x": random((7, 4, 8), FLOAT16, name="x")}, "x: shape .7, 4, 8., allowed: 4 dimensions"),
    ],
)
def test_limits_of_one_tensor(change, message):
    c, s = angles((1, 7, 1, 8), FLOAT16)
    given = {"x": random((1, 7, 4, 8), FLOAT16), "cos": c, "sin": s, "out": empty((1, 7, 4, 8), FLOAT16)}
    with refused(message):
        call("aclnnRotaryPositionEmbedding", **(given | change))


@pytest.mark.parametrize(
    "x, message", [((1, 1, 1, 896), "D 896"), ((1, 1, 1, 7), "D 7"), ((1000, 2, 1000, 2), "less than 1000")]
)
def test_sizes_of_one_tensor_are_bounded(x, message):
    c = random((1, x[1], 1, x[3]), FLOAT16)
    with refused(message):
        call("aclnnRotaryPositionEmbedding", x=random(x, FLOAT16), cos=c, sin=c, out=empty(x, FLOAT16))


@pytest.mark.parametrize("dtype", [*HALVES, FLOAT32])
@pytest.mark.parametrize("rows", [1, 5])
def test_query_and_key_in_place(dtype, rows):
    q, k = random((1, rows, 8, 128), dtype, 1), random((1, rows, 1, 128), dtype, 2)
    before = exact(q), exact(k)
    c, s = angles((1, rows, 1, 128), dtype)
    call("aclnnApplyRotaryPosEmb", queryRef=q, keyRef=k, cos=c, sin=s, layout=1)
    for made, x in zip((q, k), before, strict=True):
        assert_near(made, turned(x, exact(c), exact(s)), 1.1, 2e-3 if dtype == BFLOAT16 else 2e-4)


def in_place(**change):
    c, s = angles((1, 2, 1, 128), FLOAT16)
    given = {"queryRef": random((1, 2, 8, 128), FLOAT16, name="queryRef"), "cos": c, "sin": s, "layout": 1}
    return given | {"keyRef": random((1, 2, 1, 128), FLOAT16, name="keyRef")} | change


@pytest.mark.parametrize(
    "change, message",
    [
        ({"layout": 2}, "layout: 2, allowed: 1"),
        ({"cos": random((1, 2, 1, 128), FLOAT32, name="cos")}, "cos: dtype float32"),
        ({"queryRef": random((1, 2, 8, 128), np.float64, name="queryRef")}, "queryRef: dtype float64"),
        ({"cos": random((1, 2, 8, 128), FLOAT16, name="cos")}, "cos: shape .*N must be 1"),
        ({"keyRef": random((1, 2, 1, 64), FLOAT16, name="keyRef")}, "keyRef: D 64, must be 128"),
        ({"keyRef": random((1, 3, 1, 128), FLOAT16, name="keyRef")}, "keyRef: shape .*B and S"),
        ({"keyRef": random((1, 2, 0, 128), FLOAT16, name="keyRef")}, "an empty tensor"),
        ({"queryRef": random((2, 1024), FLOAT16, name="queryRef")}, "queryRef: shape .2, 1024., allowed: 4 dimensions"),
        ({"queryRef": random((1, 2, 200, 128), FLOAT16)}, "of the unified buffer"),
    ],
)
def test_limits_in_place(change, message):
    with refused(message):
        call("aclnnApplyRotaryPosEmb", **in_place(**change))


def test_the_eight_arguments_of_mindspore_are_too_many():
    """MindSpore 2.7.1 calls it outside graphs with q, k, cos, sin, lengths, format and two outputs."""
    from ascend_emulator.arguments import of_aclnn

    signature = find("aclnn", "aclnnApplyRotaryPosEmb").signature
    assert [parameter.name for parameter in signature.parameters] == ["queryRef", "keyRef", "cos", "sin", "layout"]
    with refused("called with 8 arguments .* has 5", INNER_ERROR):
        of_aclnn(signature, None, 8, None)


@pytest.mark.parametrize("dtype", [*HALVES, FLOAT32, np.int8])
@pytest.mark.parametrize("axis", [-2, 2])
@pytest.mark.parametrize("rows", [1, 3])
def test_scatter_update_writes_each_row_at_its_place(dtype, axis, rows):
    data, updates = random((2, 3, 8, 4), dtype, 1, 9), random((2, 3, rows, 4), dtype, 2, 9)
    wanted, places = data.array.copy(), [5, 0]
    for b, at in enumerate(places):
        for r in range(rows):
            wanted[b, :, at + r] = updates.array[b, :, r]
    call("aclnnInplaceScatterUpdate", data=data, indices=tensor(places, np.int64), updates=updates, axis=axis)
    assert np.array_equal(data.array, wanted)


def test_scatter_update_of_one_place_of_pairs_and_of_a_view():
    data, updates = random((1, 2, 8, 4), FLOAT16, 1), random((1, 2, 1, 4), FLOAT16, 2)
    call("aclnnInplaceScatterUpdate", data=data, indices=tensor(7, np.int32), updates=updates, axis=-2)
    assert np.array_equal(data.array[:, :, 7], updates.array[:, :, 0])
    data, updates = random((4, 8, 2), FLOAT16, 1), random((2, 3, 2), FLOAT16, 2)
    whole = data.array.copy()
    view = tensor(data.array[::2])
    call("aclnnInplaceScatterUpdate", data=view, indices=tensor([[1, 2], [0, 5]], np.int32), updates=updates, axis=1)
    whole[2, 2:5], whole[0, 5:8] = updates.array
    assert np.array_equal(data.array, whole)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data": random((2, 3, 8, 4), np.float64, name="data")}, "data: dtype float64"),
        ({"indices": tensor([1.0, 2.0], FLOAT32, "indices")}, "indices: dtype float32"),
        ({"data": random((2,), FLOAT16, name="data")}, "data: shape .2,., allowed: 2 to 8 dimensions"),
        ({"indices": tensor([[[1]], [[2]]], np.int64, "indices")}, "indices: shape .*allowed: 0 to 2 dimensions"),
        ({"updates": random((2, 3, 1, 4), FLOAT32, name="updates")}, "updates: dtype float32"),
        ({"updates": random((2, 3, 4), FLOAT16, name="updates")}, "updates: shape"),
        ({"axis": 0}, "axis: 0"),
        ({"axis": 4}, "axis: 4"),
        ({"axis": -4}, "axis: -4"),
        ({"indices": tensor([1], np.int64)}, "first dimension 2, expected that of indices, 1"),
        ({"indices": tensor([[1, 2, 3], [1, 2, 3]], np.int64)}, "second dimension must be 2"),
        ({"updates": random((2, 2, 1, 4), FLOAT16)}, "but on axes 0 and 2"),
        ({"updates": random((2, 3, 9, 4), FLOAT16)}, "updates: 9 on axis 2, allowed: at most that of data, 8"),
        (
            {"updates": random((3, 3, 1, 4), FLOAT16), "indices": tensor([1, 2, 3], np.int64)},
            "updates: first dimension 3, allowed: at most that of data, 2",
        ),
        ({"updates": random((2, 3, 0, 4), FLOAT16, name="updates")}, "updates: .* empty"),
        ({"indices": tensor([0, 8], np.int64)}, "indices: 8, allowed on axis 2: 0 to 8 - 1"),
        ({"indices": tensor([-1, 0], np.int64)}, "indices: -1"),
    ],
)
def test_limits_of_scatter_update(change, message):
    given = {"data": random((2, 3, 8, 4), FLOAT16), "indices": tensor([1, 2], np.int64), "axis": -2}
    with refused(message):
        call("aclnnInplaceScatterUpdate", **(given | {"updates": random((2, 3, 1, 4), FLOAT16)} | change))


def test_scatter_update_has_room_for_so_many_indices():
    rows = 25000
    given = {"data": random((rows, 2), FLOAT16), "updates": random((rows, 1), FLOAT16), "axis": 1}
    with refused("unified buffer"):
        call("aclnnInplaceScatterUpdate", indices=tensor(np.zeros(rows, np.int64)), **given)
