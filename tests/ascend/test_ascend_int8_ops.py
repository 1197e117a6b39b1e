"""Decoder operators with 8-bit weights over emulated operators: in a graph and outside, in both dtypes, for one token
and for three, against float64; what each launches; and beside their neighbours in a layer, where MindSpore makes one
operator of two."""

import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

HIDDEN, HEADS, KV_HEADS, DIM, EXPERTS, TOP_K, INNER = 64, 4, 2, 32, 8, 2, 48
EPS = 1e-6
NUMPY = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
# Half of the distance between neighbouring numbers, as a part of them: what one rounding may change
ROUNDING = {"bfloat16": 2.0**-9, "float16": 2.0**-12}
MODES = {"int8": "int8", "dynamic": "int8-dynamic"}


@pytest.fixture(scope="module")
def ops():
    from ms_omni.kernels import setup_device
    from ms_omni.kernels.decoder_ops import decoder_ops

    return decoder_ops(setup_device("Ascend"))


@pytest.fixture(params=["bfloat16", "float16"])
def dtype(request):
    return request.param


@pytest.fixture(params=["int8", "dynamic"])
def mode(request):
    return request.param


@pytest.fixture(params=[1, 3])
def tokens(request):
    return request.param


def whole(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).integers(-127, 128, shape).astype(np.int8)


def scale(*shape, seed=0):
    """float32 values that bfloat16 can hold, as those of a checkpoint."""
    values = np.random.default_rng([seed, *shape]).uniform(0.5, 1, shape) / 1270
    return values.astype(ml_dtypes.bfloat16).astype(np.float32)


def hidden(dtype, *shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(NUMPY[dtype])


def tensors(ops, mode, dtype, *arrays):
    """float32 arrays are scales of weights."""
    import mindspore as ms

    kept = ops.scale_dtype(MODES[mode], getattr(ms, dtype))
    return [ms.Tensor(x).astype(kept) if x.dtype == np.float32 else ms.Tensor(x) for x in arrays]


def run(ops, how, function, *inputs):
    """Outside a graph, or in one as the product compiles it, for known numbers of rows or any."""
    import mindspore as ms

    if how == "eager":
        return function(*inputs)
    graph = ms.jit(function, **ops.JIT_OPTIONS)
    if how == "rows unknown":
        shapes = [ms.Tensor(shape=(None, *inputs[0].shape[1:]), dtype=inputs[0].dtype), *inputs[1:]]

        class Net(ms.nn.Cell):
            def construct(self, *given):
                return function(*given)

        net = Net()
        net.set_inputs(*shapes)
        graph = ms.jit(function=net, **ops.JIT_OPTIONS)
    return graph(*inputs)


def wide(x):
    import mindspore as ms

    return x.astype(ms.float32).asnumpy().astype(np.float64)


def close(got, expected, dtype, roundings):
    """To so many roundings of the largest value of a row."""
    got = wide(got)
    assert got.shape == expected.shape
    allowed = roundings * ROUNDING[dtype] * np.abs(expected).max(-1, keepdims=True)
    assert np.all(np.abs(got - expected) <= allowed), np.max(np.abs(got - expected) / allowed)


def taken(mode, x):
    """What a product multiplies: rows as they are, or rounded to 127ths of their largest value."""
    x = x.astype(np.float64)
    if mode == "int8":
        return x
    step = np.abs(x).max(-1, keepdims=True) / 127
    return np.round(x / step) * step


def swiglu(x):
    return x[..., : x.shape[-1] // 2] / (1 + np.exp(-x[..., : x.shape[-1] // 2])) * x[..., x.shape[-1] // 2 :]


def of(operator):
    """A graph is compiled anew from it, whatever was compiled from the operator before."""

    def call(*inputs):
        return operator(*inputs)

    return call


@pytest.mark.parametrize("how", ["eager", "graph", "rows unknown"])
def test_linear(ops, how, mode, dtype, tokens):
    x, weight, scales = hidden(dtype, tokens, HIDDEN), whole(96, HIDDEN), scale(96)
    made = run(ops, how, of(getattr(ops, f"{mode}_linear")), *tensors(ops, mode, dtype, x, weight, scales))
    assert str(made.dtype).lower() == dtype
    close(made, taken(mode, x) @ (weight * scales[:, None].astype(np.float64)).T, dtype, 4)


@pytest.mark.parametrize("how", ["eager", "graph"])
def test_experts(ops, how, mode, dtype, tokens):
    x, gate_up, down = hidden(dtype, tokens, HIDDEN), whole(EXPERTS, 2 * INNER, HIDDEN), whole(EXPERTS, HIDDEN, INNER)
    gate_up_scale, down_scale = scale(EXPERTS, 2 * INNER, seed=1), scale(EXPERTS, HIDDEN, seed=2)
    chosen = np.array([[7, 0], [3, 7], [0, 3]], np.int32)[:tokens]
    inputs, shares = expert_inputs(ops, how, mode, dtype, x, chosen, gate_up, gate_up_scale, down, down_scale)
    made = run(ops, how, of(getattr(ops, f"{mode}_experts")), *inputs)
    expected = np.zeros((tokens, HIDDEN))
    for i, choice in np.ndindex(tokens, TOP_K):
        e = chosen[i, choice]
        between = swiglu((gate_up[e] * gate_up_scale[e][:, None].astype(np.float64)) @ taken(mode, x[i]))
        kept = taken(mode, between.astype(NUMPY[dtype]))
        expected[i] += shares[i, choice] * ((down[e] * down_scale[e][:, None].astype(np.float64)) @ kept)
    # A step of 127 is 8 roundings of bfloat16, 64 of float16; those that differ are few, and add up over INNER
    close(made, expected, dtype, 16 if mode == "int8" or dtype == "bfloat16" else 64)


def expert_inputs(ops, how, mode, dtype, x, chosen, gate_up, gate_up_scale, down, down_scale):
    """Of int8_experts and dynamic_experts, and the shares."""
    import mindspore as ms

    shares = np.random.default_rng(3).uniform(0.1, 1, chosen.shape).astype(np.float32)
    packed = run(ops, how, of(ops.pack_experts), ms.Tensor(gate_up), ms.Tensor(down))
    for made, given in zip(packed, (gate_up, down), strict=True):
        np.testing.assert_array_equal(made.asnumpy(), given.swapaxes(1, 2))
    scales = tensors(ops, mode, dtype, gate_up_scale, down_scale)
    given = ms.Tensor(x), ms.Tensor(shares), ms.Tensor(chosen), packed[0], scales[0], packed[1], scales[1]
    return given, shares


# ---- what is launched ------------------------------------------------------------------------------------------------
ROUTED = {"MoeTokenUnpermute": 1, "SwiGlu": 1, "GroupedMatmulV4": 2}
LAUNCHED = {
    ("int8_linear", "graph"): {"WeightQuantBatchMatmulV2": 1},
    ("dynamic_linear", "graph"): {"DynamicQuant": 1, "QuantMatmulV4": 1},
    # Casts: counts to int64, shares to the dtype; outside graphs MindSpore casts what it sums to its own dtype
    ("int8_experts", "graph"): {**ROUTED, "MoeInitRoutingV2": 1, "Cast": 2},
    ("dynamic_experts", "graph"): {**ROUTED, "MoeInitRoutingQuantV2": 1, "DynamicQuant": 1, "Cast": 2},
    ("int8_linear", "eager"): {"WeightQuantBatchMatmulV2": 1},
    ("dynamic_linear", "eager"): {"DynamicQuant": 1, "QuantMatmulV4": 1},
    ("int8_experts", "eager"): {**ROUTED, "MoeInitRoutingV2": 1, "Cast": 4},
    ("dynamic_experts", "eager"): {**ROUTED, "MoeInitRoutingV2": 1, "DynamicQuant": 2, "Cast": 4},
}


@pytest.mark.parametrize("name, how", LAUNCHED)
def test_what_is_launched(ops, name, how, dtype):
    """No copy of a weight, no legacy operator; in a graph one rounding is part of the routing."""
    mode = name.split("_")[0]
    if name.endswith("linear"):
        inputs = tensors(ops, mode, dtype, hidden(dtype, 3, HIDDEN), whole(96, HIDDEN), scale(96))
    else:
        sizes = whole(EXPERTS, 2 * INNER, HIDDEN), scale(EXPERTS, 2 * INNER), whole(EXPERTS, HIDDEN, INNER)
        chosen = np.array([[7, 0], [3, 7], [0, 3]], np.int32)
        given = expert_inputs(
            ops, "graph", mode, dtype, hidden(dtype, 3, HIDDEN), chosen, *sizes, scale(EXPERTS, HIDDEN)
        )
        inputs = given[0]
    assert launches(ops, how, getattr(ops, name), *inputs) == {
        f"aclnn aclnn{k}": n for k, n in LAUNCHED[name, how].items()
    }


def launches(ops, how, function, *inputs):
    """Of a second call, since the first one moves constants to the card."""
    import mindspore as ms
    from ascend_emulator import trace

    def called(*given):
        return function(*given)

    called = called if how == "eager" else ms.jit(called, **ops.JIT_OPTIONS)
    for _ in range(2):
        ms.runtime.synchronize()
        trace.reset()
        called(*inputs)
        ms.runtime.synchronize()
    return {name: n for name, n in trace.counts().items() if name.split()[0] in ("aclnn", "aclop", "internal")}


# ---- beside their neighbours -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["eager", "graph", "rows unknown"])
def test_a_dense_network_between_norms(ops, how, mode, dtype):
    """MindSpore has passes that join AddRmsNorm and SwiGLU with rounding. The second one fails where it applies."""
    linear = getattr(ops, f"{mode}_linear")

    def network(x, residual, norm, gate_up, gate_up_scale, down, down_scale):
        normed, total = ops.add_rms_norm(x, residual, norm, EPS)
        made = linear(ops.swiglu(linear(normed, gate_up, gate_up_scale)), down, down_scale)
        return ops.add_rms_norm(made, total, norm, EPS)[1]

    x, residual, norm = hidden(dtype, 3, HIDDEN), hidden(dtype, 3, HIDDEN, seed=1), hidden(dtype, HIDDEN, seed=2)
    gate_up, down = whole(2 * INNER, HIDDEN), whole(HIDDEN, INNER)
    scales = scale(2 * INNER), scale(HIDDEN)
    inputs = tensors(ops, mode, dtype, x, residual, norm, gate_up, scales[0], down, scales[1])
    made = run(ops, how, network, *inputs)
    total = (x.astype(np.float32) + residual.astype(np.float32)).astype(NUMPY[dtype]).astype(np.float64)
    normed = total / np.sqrt(np.square(total).mean(-1, keepdims=True) + EPS) * norm.astype(np.float64)
    between = swiglu(taken(mode, normed.astype(NUMPY[dtype])) @ (gate_up * scales[0][:, None].astype(np.float64)).T)
    expected = taken(mode, between.astype(NUMPY[dtype])) @ (down * scales[1][:, None].astype(np.float64)).T + total
    close(made, expected, dtype, 16 if mode == "int8" or dtype == "bfloat16" else 64)


@pytest.mark.parametrize("how", ["eager", "graph"])
def test_a_projection_that_is_taken_apart(ops, how, mode, dtype):
    linear = getattr(ops, f"{mode}_linear")

    def project(x, weight, scales):
        q, k, v = ops.split_qkv(linear(x, weight, scales), HEADS, KV_HEADS)
        return q + 0, k + 0, v + 0

    x, weight, scales = hidden(dtype, 3, HIDDEN), whole((HEADS + 2 * KV_HEADS) * DIM, HIDDEN), scale(256)
    parts = run(ops, how, project, *tensors(ops, mode, dtype, x, weight, scales))
    expected = (taken(mode, x) @ (weight * scales[:, None].astype(np.float64)).T).reshape(3, -1, DIM)
    for part, rows in zip(parts, (slice(0, HEADS), slice(HEADS, -KV_HEADS), slice(-KV_HEADS, None)), strict=True):
        np.testing.assert_allclose(wide(part), expected[:, rows], atol=8 * ROUNDING[dtype] * np.abs(expected).max())


@pytest.mark.parametrize("how", ["eager", "graph"])
def test_weights_are_put_together(ops, how):
    """As under zero3: taken apart, joined, picked by index, turned. int8 stays what it is, in no legacy operator but
    the Gather of ops.gather."""
    import mindspore as ms
    from mindspore import mint

    def together(parts, places):
        left, right = ops.split(parts, (3, 5))
        joined = ms.ops.concat((left.reshape(-1, 3), right.reshape(-1, 5)[:, :3]), 0)
        return (
            joined,
            ms.ops.gather(parts, places, 0),
            mint.index_select(parts, 0, places),
            ops.pack_experts(parts, parts)[0],
        )

    parts, places = whole(4, 6, 8), np.array([2, 0], np.int32)
    made = [x.asnumpy() for x in run(ops, how, together, ms.Tensor(parts), ms.Tensor(places))]
    right = np.concatenate([parts[..., :3].reshape(-1, 3), parts[..., 3:6].reshape(-1, 3)])
    for got, wanted in zip(made, (right, parts[places], parts[places], parts.swapaxes(1, 2)), strict=True):
        assert got.dtype == np.int8
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"EMULATED_SOC": "Ascend910_9392"}, id="A3"),
        pytest.param({"EMULATED_SOC": "Ascend910B4"}, id="910B4", marks=pytest.mark.slow),
    ],
)
def test_other_machines(environment, tmp_path):
    """All of the above in a process of its own, in one dtype."""
    line = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", __file__]
    line += ["-k", "not other_machines and bfloat16"]
    result = subprocess.run(line, env={**os.environ, **environment}, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
