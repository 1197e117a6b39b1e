"""Emulated convolution against loops in float64, and its limits."""

import itertools

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32, DeviceTensor
from emulated_calls import HALVES, call, exact, random, refused

FORMATS = {3: "NCL", 4: "NCHW", 5: "NCDHW"}


def shaped(tensor, name="x"):
    """With the format that MindSpore gives a tensor of so many dimensions."""
    return DeviceTensor(name, tensor.array, FORMATS.get(tensor.ndim, "ND"), 0, tensor.size)


def by_loops(x, w, stride, pad, dilation, groups, size):
    """Each output place sums over the kernel's places that fall inside the input."""
    batch, outputs = x.shape[0], w.shape[0]
    out = np.zeros((batch, outputs, *size))
    per_group = outputs // groups
    for o, at in itertools.product(range(outputs), itertools.product(*map(range, size))):
        first = o // per_group * w.shape[1]
        for place in itertools.product(*map(range, w.shape[2:])):
            source = [i * s - p + k * d for i, s, p, k, d in zip(at, stride, pad, place, dilation, strict=True)]
            if all(0 <= i < n for i, n in zip(source, x.shape[2:], strict=True)):
                out[(slice(None), o, *at)] += (
                    x[(slice(None), slice(first, first + w.shape[1]), *source)] @ w[(o, slice(None), *place)]
                )
    return out


def transposed_by_loops(x, w, stride, pad, dilation, groups, size):
    """Each input value adds to the places that the plain convolution would read it for."""
    out = np.zeros((x.shape[0], w.shape[1] * groups, *size))
    per_group = x.shape[1] // groups
    for c, at in itertools.product(range(x.shape[1]), itertools.product(*map(range, x.shape[2:]))):
        group = c // per_group
        for o, place in itertools.product(range(w.shape[1]), itertools.product(*map(range, w.shape[2:]))):
            target = [i * s - p + k * d for i, s, p, k, d in zip(at, stride, pad, place, dilation, strict=True)]
            if all(0 <= i < n for i, n in zip(target, size, strict=True)):
                out[(slice(None), group * w.shape[1] + o, *target)] += x[(slice(None), c, *at)] * w[(c, o, *place)]
    return out


def made(x, w, dtype, transposed=False, groups=1, more=None, bias=True, **lists):
    count = len(x) - 2
    lists = {"stride": [1] * count, "padding": [0] * count, "dilation": [1] * count} | lists
    x, w = shaped(random(x, dtype, 1), "input"), shaped(random(w, dtype, 2, 0.5), "weight")
    outputs = w.shape[1] * groups if transposed else w.shape[0]
    pads = lists["padding"]
    pads = [(p, p) for p in pads] if len(pads) == count else list(zip(pads[::2], pads[1::2], strict=True))
    size = []
    for i, (n, k) in enumerate(zip(x.shape[2:], w.shape[2:], strict=True)):
        span, s = (k - 1) * lists["dilation"][i] + 1, lists["stride"][i]
        size.append(
            (n - 1) * s - sum(pads[i]) + span + (more or [0] * count)[i]
            if transposed
            else (n + sum(pads[i]) - span) // s + 1
        )
    output = shaped(random((x.shape[0], outputs, *size), dtype, 9), "output")
    given = {
        "input": x,
        "weight": w,
        "bias": random((outputs,), dtype, 3, name="bias") if bias else None,
        "output": output,
    }
    given |= lists | {
        "transposed": transposed,
        "groups": groups,
        "outputPadding": more or [0] * count,
        "cubeMathType": 1,
    }
    formula = transposed_by_loops if transposed else by_loops
    wanted = formula(exact(x), exact(w), lists["stride"], [p[0] for p in pads], lists["dilation"], groups, size)
    if bias:
        wanted += exact(given["bias"]).reshape(-1, *[1] * count)
    return given, wanted


PLAIN = [
    {"x": (1, 3, 9), "w": (4, 3, 3)},
    {"x": (2, 4, 9), "w": (6, 2, 3), "groups": 2, "stride": [2], "padding": [1], "dilation": [2]},
    {"x": (1, 5, 12), "w": (5, 1, 7), "groups": 5, "bias": False},
    {"x": (1, 2, 7), "w": (3, 2, 2), "padding": [3, 0]},
    {"x": (2, 1, 8, 7), "w": (3, 1, 3, 3), "stride": [2, 2], "padding": [1, 1]},
    {"x": (1, 2, 5, 6), "w": (3, 2, 2, 3), "padding": [1, 0, 2, 1], "dilation": [2, 1]},
    {"x": (1, 2, 9, 8), "w": (2, 1, 7, 6), "groups": 2, "stride": [2, 1], "dilation": [1, 1]},
    {"x": (2, 3, 2, 4, 4), "w": (5, 3, 2, 2, 2), "stride": [2, 2, 2]},
    {"x": (1, 1, 2, 8, 8), "w": (3, 1, 2, 4, 6), "stride": [2, 4, 1]},
    {"x": (0, 3, 9), "w": (4, 3, 3)},
]
TRANSPOSED = [
    {"x": (1, 3, 5), "w": (3, 4, 4), "stride": [2]},
    {"x": (1, 4, 3), "w": (4, 3, 16), "stride": [8], "padding": [4], "groups": 2},
    {"x": (2, 3, 4), "w": (3, 2, 3), "stride": [3], "dilation": [2], "more": [2], "bias": False},
    {"x": (1, 2, 3, 4), "w": (2, 3, 3, 2), "stride": [2, 1], "padding": [1, 0]},
    {"x": (1, 2, 2, 2, 3), "w": (2, 1, 2, 2, 2), "stride": [1, 2, 2]},
]


@pytest.mark.parametrize("dtype", [*HALVES, FLOAT32])
@pytest.mark.parametrize("transposed, case", [(False, c) for c in PLAIN] + [(True, c) for c in TRANSPOSED])
def test_convolution_equals_the_formula(dtype, transposed, case):
    given, wanted = made(dtype=dtype, transposed=transposed, **case)
    call("aclnnConvolution", **given)
    assert given["output"].shape == wanted.shape
    # float32 goes through HFLOAT32: 11 bits of mantissa
    allowed = {FLOAT16: 2.0**-10, BFLOAT16: 2.0**-7, FLOAT32: 2.0**-9}[dtype]
    assert np.allclose(exact(given["output"]), wanted, rtol=allowed, atol=allowed)


def test_views():
    given, _ = made((1, 2, 9), (3, 2, 3), FLOAT16)
    whole = random((1, 4, 9), FLOAT16, 1)
    given["input"] = shaped(DeviceTensor("input", whole.array[:, ::2]))
    call("aclnnConvolution", **given)
    wanted = by_loops(exact(given["input"]), exact(given["weight"]), [1], [0], [1], 1, [7])
    assert np.allclose(exact(given["output"]), wanted + exact(given["bias"])[:, None], atol=1e-2)


def test_float32_is_rounded_to_11_bits_unless_kept():
    given, _ = made((1, 1, 1), (1, 1, 1), FLOAT32, bias=False)
    given["input"].array[...], given["weight"].array[...] = 1 + 2.0**-12 + 2.0**-14, 1
    call("aclnnConvolution", **given)
    assert given["output"].array.item() == 1 + 2.0**-11
    with refused("cubeMathType: 0 .KEEP_DTYPE. is not allowed for float32"):
        call("aclnnConvolution", **(given | {"cubeMathType": 0}))


def ones(*shape, dtype=FLOAT16, name="x"):
    return shaped(random(shape, dtype), name)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"input": random((1, 4, 9), FLOAT16, name="input")}, "input: format ND, expected NCL"),
        ({"input": ones(4, 9, name="input")}, "input: shape .4, 9., allowed: 3 to 5 dimensions"),
        ({"weight": ones(6, 2, 3, 1, name="weight")}, "weight: shape .6, 2, 3, 1., allowed: 3 dimensions"),
        ({"weight": ones(5, 2, 3)}, "weight: shape .5, 2, 3., the first dimension must be a multiple of 2"),
        ({"input": ones(1, 4, 9, dtype=np.float64, name="input")}, "input: dtype float64"),
        ({"input": ones(1, 4, 9, dtype=BFLOAT16)}, "bfloat16 is not promoted"),
        ({"input": ones(1, 3, 9)}, "input: 3 channels, weight .6, 2, 3. with 2 groups expects 4"),
        ({"groups": 0}, "groups: 0"),
        ({"groups": 65536}, "groups: 65536"),
        ({"stride": [0]}, "stride: .0., allowed: at least 1"),
        ({"stride": [1, 1]}, "stride: .1, 1., allowed: 1 numbers"),
        ({"padding": [-1]}, "padding: .-1., allowed: at least 0"),
        ({"padding": [1, 1, 1]}, "padding: .1, 1, 1., allowed: 1 or 2 numbers"),
        ({"padding": [256]}, "padding: .256, 256., allowed: 0 to 255"),
        ({"dilation": [0]}, "dilation: .0."),
        ({"dilation": [5]}, "less than the kernel's span 11"),
        ({"bias": random((5,), FLOAT16, name="b")}, "b: shape"),
        ({"bias": random((1, 6), FLOAT16, name="b")}, "b: shape .1, 6., allowed: 1 dimensions"),
        ({"bias": random((6,), FLOAT32, name="b")}, "b: dtype float32"),
        ({"output": ones(1, 6, 8, name="o")}, "o: shape .1, 6, 8., expected .1, 6, 7."),
        ({"output": ones(1, 6, 7, dtype=np.float64, name="o")}, "o: dtype float64"),
        ({"cubeMathType": 4}, "cubeMathType: 4"),
        ({"input": ones(1, 4, 1000001)}, "at most 1000000"),
    ],
)
def test_limits(change, message):
    given, _ = made((1, 4, 9), (6, 2, 3), FLOAT16, groups=2)
    with refused(message):
        call("aclnnConvolution", **(given | change))


def test_limits_of_bfloat16_of_transposed_and_of_three_dimensions():
    given, _ = made((1, 4, 9), (6, 4, 3), BFLOAT16)
    with refused("USE_FP16. is not allowed for bfloat16"):
        call("aclnnConvolution", **(given | {"cubeMathType": 2}))
    call("aclnnConvolution", **(given | {"cubeMathType": 3}))  # MindSpore's choice for convolutions
    given, _ = made((1, 2, 3), (2, 2, 256), FLOAT16, transposed=True)
    with refused("weight: .256., allowed: 1 to 255"):
        call("aclnnConvolution", **given)
    given, _ = made((1, 2, 3), (2, 2, 3), FLOAT16, transposed=True)
    with refused("outputPadding: .1., allowed: 0 to 0"):
        call("aclnnConvolution", **(given | {"outputPadding": [1]}))
    with refused("padding: .0, 0., allowed: 1 numbers"):
        call("aclnnConvolution", **(given | {"padding": [0, 0]}))
    with refused("outputPadding: .0, 0., allowed: 1 numbers"):
        call("aclnnConvolution", **(given | {"outputPadding": [0, 0]}))
    with refused("o: dtype float32, expected that of input"):
        call("aclnnConvolution", **(given | {"output": ones(1, 2, 5, dtype=FLOAT32, name="o")}))
    given, _ = made((1, 1, 1, 1, 64), (1, 1, 1, 1, 1), FLOAT16, stride=[1, 1, 64])
    with refused("stride: .1, 64., allowed: 1 to 63"):
        call("aclnnConvolution", **given)
    given, _ = made((1, 1, 1, 1, 512), (1, 1, 1, 1, 512), FLOAT16)
    with refused("weight: .1, 512., allowed: 1 to 511"):
        call("aclnnConvolution", **given)
