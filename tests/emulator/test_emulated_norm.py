"""Emulated normalisation and activations against formulas in float64, and their limits."""

import math

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32
from ascend_emulator.refusal import NULL_POINTER, TILING_ERROR
from emulated_calls import HALVES, assert_near, call, empty, exact, random, refused, tensor

ALL = [*HALVES, FLOAT32]
EPSILON = 1e-6


def rows(x, axes):
    """Each part that is normalised together, as (index, values)."""
    return x.reshape(-1, int(np.prod(x.shape[x.ndim - axes :])))


@pytest.mark.parametrize("dtype, gamma", [*((d, d) for d in ALL), (FLOAT16, FLOAT32), (BFLOAT16, FLOAT32)])
@pytest.mark.parametrize("shape, axes", [((1, 8), 1), ((3, 4, 32), 1), ((2, 3, 5), 2), ((7,), 1), ((0, 4), 1)])
def test_rms_norm(dtype, gamma, shape, axes):
    x, weight = random(shape, dtype, 1), random(shape[len(shape) - axes :], gamma, 2)
    kept = (*shape[: len(shape) - axes], *[1] * axes)
    out, reciprocal = empty(shape, dtype), empty(kept, FLOAT32)
    call("aclnnRmsNorm", x=x, gamma=weight, epsilon=EPSILON, yOut=out, rstdOut=reciprocal)
    flat, w = rows(exact(x), axes), exact(weight).reshape(-1)
    one_over = np.array([1 / math.sqrt(sum(v * v for v in row) / len(row) + EPSILON) for row in flat])
    assert np.allclose(reciprocal.array.reshape(-1), one_over, rtol=1e-5)
    assert_near(out, (flat * one_over[:, None] * w).reshape(shape), 1.1, 1e-5)


def test_rms_norm_of_a_view_and_of_large_values():
    x = random((3, 4, 16), FLOAT16, 1, 300).array[:, ::2]
    out, reciprocal = empty(x.shape, FLOAT16), empty((3, 2, 1), FLOAT32)
    call("aclnnRmsNorm", x=tensor(x), gamma=random((16,), FLOAT16), epsilon=EPSILON, yOut=out, rstdOut=reciprocal)
    assert np.all(np.isfinite(exact(out)))  # squares beyond float16


def rms(**change):
    given = {"x": random((2, 8), FLOAT16, name="x"), "gamma": random((8,), FLOAT16, name="gamma"), "epsilon": EPSILON}
    return given | {"yOut": empty((2, 8), FLOAT16, "y"), "rstdOut": empty((2, 1), FLOAT32, "r")} | change


@pytest.mark.parametrize(
    "change, message, status",
    [
        ({"x": random((2, 8), np.float64, name="x")}, "x: dtype float64", None),
        ({"gamma": random((8,), BFLOAT16, name="gamma")}, "gamma must be of x's dtype or float32", None),
        ({"yOut": empty((2, 8), FLOAT32, "y")}, "y: dtype float32", None),
        ({"rstdOut": empty((2, 1), FLOAT16, "r")}, "r: dtype float16", None),
        ({"gamma": random((4,), FLOAT16, name="gamma")}, "gamma: shape", TILING_ERROR),
        ({"x": random((1,) * 9, FLOAT16, name="x"), "yOut": empty((1,) * 9, FLOAT16)}, "x: .*1 to 8 dimensions", None),
        ({"x": random((2, 0), FLOAT16), "gamma": random((0,), FLOAT16)}, "gamma: .*empty tensor", TILING_ERROR),
        ({"yOut": empty((2, 4), FLOAT16, "y")}, "y: shape", TILING_ERROR),
        ({"rstdOut": empty((2,), FLOAT32, "r")}, "r: shape", TILING_ERROR),
    ],
)
def test_limits_of_rms_norm(change, message, status):
    with refused(message, *([status] if status else [])):
        call("aclnnRmsNorm", **rms(**change))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("shape", [(1, 8), (5, 128), (2, 3, 7)])
def test_add_rms_norm(dtype, shape):
    one, two, weight = random(shape, dtype, 1), random(shape, dtype, 2), random(shape[-1:], dtype, 3)
    kept = (*shape[:-1], 1)
    out, reciprocal, total = empty(shape, dtype), empty(kept, FLOAT32), empty(shape, dtype)
    given = {"x1": one, "x2": two, "gamma": weight, "epsilon": EPSILON, "yOut": out}
    call("aclnnAddRmsNorm", **given, rstdOut=reciprocal, xOut=total)
    added = exact(one) + exact(two)
    one_over = 1 / np.sqrt((added**2).mean(-1, keepdims=True) + EPSILON)
    assert_near(total, added, 1.01)
    assert_near(out, added * one_over * exact(weight), 1.1, 1e-5)
    assert np.allclose(reciprocal.array, one_over, rtol=1e-5)
    if dtype != FLOAT32:
        short = given | {"gamma": tensor(weight.array[None]), "yOut": empty(shape, dtype)}
        call("aclnnAddRmsNorm", **short)
        assert np.array_equal(short["yOut"].array, out.array)


def test_limits_of_add_rms_norm():
    x, out, reciprocal = random((2, 8), FLOAT16, name="x"), empty((2, 8), FLOAT16, "y"), empty((2, 1), FLOAT32, "r")
    given = {"x1": x, "x2": x, "gamma": random((8,), FLOAT16, name="gamma"), "epsilon": EPSILON, "yOut": out}
    given |= {"rstdOut": reciprocal, "xOut": empty((2, 8), FLOAT16, "s")}
    for change, message, status in (
        ({"gamma": random((8,), FLOAT32, name="gamma")}, "gamma: dtype float32, expected that of x", None),
        ({"x1": random((2, 8), np.float64, name="x1")}, "x1: dtype float64", None),
        ({"x1": random((), FLOAT16, name="x1")}, "x1: shape .., allowed: 1 to 8 dimensions", None),
        (
            {name: random((2, 8), FLOAT32) for name in ("x1", "x2", "gamma", "yOut")} | {"rstdOut": None},
            "rstdOut: a null pointer, which is not allowed for float32",
            None,
        ),
        ({"rstdOut": empty((2, 1), FLOAT16, "r")}, "r: dtype float16", None),
        ({"xOut": empty((8,), FLOAT16, "s")}, "s: shape", None),
        ({"x2": random((2, 4), FLOAT16, name="x2")}, "x2: shape", None),
        ({"epsilon": -1.0}, "epsilon: -1.0", None),
        ({"xOut": None}, "xOut: a null pointer", NULL_POINTER),
        ({"rstdOut": None}, "gamma: shape .8,., expected .1, 8.", None),
        ({"gamma": random((4,), FLOAT16)}, "gamma: shape", None),
        ({"rstdOut": empty((2, 8), FLOAT32, "r")}, "r: shape", None),
        ({"xOut": empty((2, 8), FLOAT32, "s")}, "s: dtype float32", None),
        ({"yOut": empty((8,), FLOAT16, "y")}, "y: shape", None),
    ):
        with refused(message, *([status] if status else [])):
            call("aclnnAddRmsNorm", **(given | change))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("weight", [None, "own", FLOAT32])
@pytest.mark.parametrize("shape, axes", [((3, 8), 1), ((2, 3, 5), 2), ((1, 1), 1), ((0, 4), 1)])
def test_layer_norm(dtype, weight, shape, axes):
    last = shape[len(shape) - axes :]
    x = random(shape, dtype, 1)
    kind = dtype if weight == "own" else weight
    w, b = (None, None) if weight is None else (random(last, kind, 2), random(last, kind, 3))
    kept = (*shape[: len(shape) - axes], *[1] * axes)
    out, mean, reciprocal = empty(shape, dtype), empty(kept, FLOAT32), empty(kept, FLOAT32)
    given = {"input": x, "normalizedShape": list(last), "weightOptional": w, "biasOptional": b, "eps": 1e-5, "out": out}
    call("aclnnLayerNorm", **given, meanOutOptional=mean, rstdOutOptional=reciprocal)
    wanted = []
    for row in rows(exact(x), axes):
        m = sum(row) / len(row)
        one_over = 1 / math.sqrt(sum((v - m) ** 2 for v in row) / len(row) + 1e-5)
        wanted.append(
            (row - m) * one_over * (1 if w is None else exact(w).reshape(-1))
            + (0 if b is None else exact(b).reshape(-1))
        )
    assert_near(out, np.array(wanted).reshape(shape), 1.1, 2e-4 if dtype == FLOAT32 else 2e-3)


def test_limits_of_layer_norm():
    given = {"input": random((2, 8), FLOAT16, name="x"), "normalizedShape": [8], "out": empty((2, 8), FLOAT16, "o")}
    for change, message in (
        ({"input": random((2, 8), np.float64, name="x")}, "x: dtype float64"),
        ({"normalizedShape": []}, "normalizedShape: empty"),
        ({"input": random((), FLOAT16, name="x")}, "x: shape .., allowed: 1 to 8 dimensions"),
        ({"out": empty((8,), FLOAT16, "o")}, "o: shape"),
        ({"normalizedShape": [4]}, "normalizedShape: .4,., expected the last dimensions"),
        ({"weightOptional": random((8,), BFLOAT16, name="w")}, "w: dtype bfloat16, allowed: float16, float32"),
        ({"weightOptional": random((4,), FLOAT16, name="w")}, "w: shape"),
        (
            {"weightOptional": random((8,), FLOAT16), "biasOptional": random((8,), FLOAT32, name="b")},
            "b: dtype float32",
        ),
        ({"out": empty((2, 8), FLOAT32, "o")}, "o: dtype float32"),
        ({"meanOutOptional": empty((2,), FLOAT32, "m")}, "m: shape"),
        ({"rstdOutOptional": empty((2, 1), np.float64, "r")}, "r: dtype float64"),
    ):
        with refused(message):
            call("aclnnLayerNorm", **(given | change))


def groups(**change):
    given = {
        "self": random((2, 6, 5), FLOAT16, 1, name="x"),
        "gamma": random((6,), FLOAT16, 2),
        "beta": random((6,), FLOAT16, 3),
    }
    given |= {"N": 2, "C": 6, "HxW": 5, "group": 3, "eps": 1e-5, "out": empty((2, 6, 5), FLOAT16)}
    return given | {"meanOut": empty((2, 3), FLOAT16), "rstdOut": empty((2, 3), FLOAT16)} | change


def test_group_norm():
    given = groups()
    call("aclnnGroupNorm", **given)
    x = exact(given["self"])
    for n in range(2):
        for g in range(3):
            part = x[n, 2 * g : 2 * g + 2]
            wanted = (part - part.mean()) / math.sqrt(part.var() + 1e-5)
            wanted = (
                wanted * exact(given["gamma"])[2 * g : 2 * g + 2, None] + exact(given["beta"])[2 * g : 2 * g + 2, None]
            )
            assert np.allclose(exact(given["out"])[n, 2 * g : 2 * g + 2], wanted, atol=5e-3)
            assert np.isclose(exact(given["meanOut"])[n, g], part.mean(), atol=1e-3)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"group": 4}, "group: 4, must be more than 0 and divide C = 6"),
        ({"group": 0}, "group: 0"),
        ({"self": random((2, 6, 5), np.float64, name="x")}, "x: dtype float64"),
        ({"self": random((6,), FLOAT16, name="x")}, "x: shape .6,., allowed: 2 to 8 dimensions"),
        ({"out": empty((2, 6), FLOAT16, "o")}, "o: shape"),
        ({"eps": 0.0}, "eps: 0.0"),
        ({"HxW": 4}, "N, C, HxW: 2, 6, 4"),
        ({"gamma": random((5,), FLOAT16, name="g")}, "g: shape"),
        ({"gamma": random((6,), FLOAT32, name="g")}, "g: dtype float32"),
        ({"meanOut": empty((2, 6), FLOAT16, "m")}, "m: shape"),
        ({"rstdOut": empty((2, 3), FLOAT32, "r")}, "r: dtype float32"),
    ],
)
def test_limits_of_group_norm(change, message):
    with refused(message):
        call("aclnnGroupNorm", **groups(**change))


def phi(v):
    return 0.5 * math.erfc(-v / math.sqrt(2))


FORMULAS = {
    "aclnnSilu": lambda v: v / (1 + math.exp(-v)),
    "aclnnSigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "aclnnGelu": lambda v: v * phi(v),
    "aclnnRelu": lambda v: v if v > 0 else 0.0,
    "aclnnLeakyRelu": lambda v: v if v > 0 else 0.25 * v,
}


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("shape", [(), (7,), (2, 0), (3, 2, 5)])
def test_activations(dtype, name, shape):
    x, out = random(shape, dtype, 1, 4), empty(shape, dtype)
    more = {"negativeSlope": 0.25} if name == "aclnnLeakyRelu" else {}
    call(name, self=x, out=out, **more)
    wanted = np.array([FORMULAS[name](v) for v in exact(x).reshape(-1)]).reshape(shape)
    assert_near(out, wanted, 1.2, 1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_limits_of_activations(name):
    x = random((2, 3), FLOAT16, name="x")
    for change, message in (
        ({"self": random((2, 3), np.float64, name="x")}, "x: dtype float64"),
        ({"out": empty((2, 3), np.float64)}, "out: dtype float64"),
        ({"out": empty((3,), FLOAT16)}, "out: shape"),
        ({"self": random((1,) * 9, FLOAT16, name="x")}, "allowed: 0 to 8 dimensions"),
    ):
        with refused(message):
            call(name, **({"self": x, "out": empty((2, 3), FLOAT16)} | change))


def test_activations_of_far_values():
    for name, wanted in (("aclnnSilu", [-0.0, 60000.0]), ("aclnnSigmoid", [0.0, 1.0]), ("aclnnGelu", [-0.0, 60000.0])):
        out = empty((2,), FLOAT16)
        call(name, self=tensor([-60000.0, 60000.0], FLOAT16), out=out)
        assert np.allclose(exact(out), wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", ALL)
def test_gelu_by_error_function_and_by_hyperbolic_tangent(dtype):
    x = tensor(np.linspace(-5, 5, 41), dtype)
    tangent = [0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in exact(x)]
    for approximate, wanted in ((0, [v * phi(v) for v in exact(x)]), (1, tangent)):
        out = empty((41,), dtype)
        call("aclnnGeluV2", x=x, approximate=approximate, y=out)
        assert_near(out, np.array(wanted), 1.2, 2e-6)
    with refused("approximate: 2"):
        call("aclnnGeluV2", x=x, approximate=2, y=empty((41,), dtype))


def test_sigmoid_in_place_and_leaky_outputs_of_another_dtype():
    x = random((3,), BFLOAT16, 1)
    wanted = 1 / (1 + np.exp(-exact(x)))
    call("aclnnInplaceSigmoid", selfRef=x)
    assert_near(x, wanted, 1.1)
    with refused("selfRef: shape"):
        call("aclnnInplaceSigmoid", selfRef=tensor(np.float32(1), name="selfRef"))
    with refused("selfRef: dtype int32"):
        call("aclnnInplaceSigmoid", selfRef=tensor([1], np.int32, "selfRef"))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("shape, axis", [((1, 6), -1), ((4, 2, 3), 1), ((2, 5), 0), ((4, 0), 0)])
def test_swiglu_and_softmax(dtype, shape, axis):
    x = random(shape, dtype, 1, 2)
    first, second = np.split(exact(x), 2, axis) if shape[axis] % 2 == 0 else (None, None)
    if first is not None:
        out = empty(first.shape, dtype)
        call("aclnnSwiGlu", x=x, dimOptional=axis, out=out)
        assert_near(out, first / (1 + np.exp(-first)) * second, 1.1, 1e-5)
    out, logarithms = empty(shape, dtype), empty(shape, dtype)
    call("aclnnSoftmax", self=x, dim=axis, out=out)
    call("aclnnLogSoftmax", self=x, dim=axis, out=logarithms)
    wanted = np.exp(exact(x)) / np.exp(exact(x)).sum(axis, keepdims=True)
    assert_near(out, wanted, 1.1)
    assert_near(logarithms, np.log(wanted), 1.1, 1e-5)


def test_limits_of_swiglu_and_softmax():
    x = random((2, 6), FLOAT16, name="x")
    for change, message in (
        ({"dimOptional": 2}, "dimOptional: 2, allowed: -2 to 1"),
        ({"x": random((2, 5), FLOAT16)}, "dimension -1 must be even"),
        ({"x": tensor(random((6, 2), FLOAT16).array.T, name="x")}, "x: not contiguous"),
        ({"out": empty((2, 6), FLOAT16)}, "out: shape"),
        ({"x": random((2, 6), np.float64, name="x")}, "x: dtype float64"),
        ({"out": empty((2, 3), FLOAT32)}, "out: dtype float32"),
        ({"x": random((), FLOAT16, name="x")}, "x: shape .., allowed: 1 to 8 dimensions"),
    ):
        with refused(message):
            call("aclnnSwiGlu", **({"x": x, "dimOptional": -1, "out": empty((2, 3), FLOAT16)} | change))
    for name in ("aclnnSoftmax", "aclnnLogSoftmax"):
        with refused("dim: 2, allowed: -2 to 1"):
            call(name, self=x, dim=2, out=empty((2, 6), FLOAT16))
        with refused("x: dtype int32"):
            call(name, self=tensor([1], np.int32), dim=0, out=empty((1,), FLOAT16))
        with refused("out: dtype int32"):
            call(name, self=x, dim=0, out=empty((2, 6), np.int32))
        with refused("out: shape"):
            call(name, self=x, dim=0, out=empty((6,), FLOAT16))
    with refused("allowed: 1 to 8 dimensions"):
        call("aclnnLogSoftmax", self=tensor(np.float32(1)), dim=0, out=empty((), FLOAT32))
