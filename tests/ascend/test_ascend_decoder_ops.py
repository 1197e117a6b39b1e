"""Every decoder operator of a card over emulated operators, but those with caches (test_ascend_rows.py): in a graph and
outside, in both dtypes, for one token and for three, against formulas in float64 that share nothing with the stand-ins
of tests/kernels."""

import os
import subprocess
import sys

import numpy as np
import pytest

HIDDEN, HEADS, KV_HEADS, DIM, EXPERTS, TOP_K, INNER = 64, 4, 2, 32, 8, 2, 48
EPS, SCALE = 1e-6, DIM**-0.5
# Half of the distance between neighbouring numbers, as a part of them: what one rounding may change
ROUNDING = {"bfloat16": 2.0**-9, "float16": 2.0**-12}


@pytest.fixture(scope="module")
def ops():
    from ms_omni.kernels import setup_device
    from ms_omni.kernels.decoder_ops import decoder_ops

    return decoder_ops(setup_device("Ascend"))


@pytest.fixture(params=["bfloat16", "float16"])
def dtype(request):
    return request.param


@pytest.fixture(params=["eager", "graph"])
def call(request, ops):
    """call(function, arrays...): the function of tensors, outside a graph or compiled as the product does."""
    import mindspore as ms

    def run(function, *tensors):
        return (ms.jit(function, **ops.JIT_OPTIONS) if request.param == "graph" else function)(*tensors)

    return run


@pytest.fixture(params=[1, 3])
def tokens(request):
    return request.param


def tensor(dtype, *shape, seed=0):
    """Random values that the dtype can hold."""
    import mindspore as ms

    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return ms.Tensor(values.astype(np.float32)).astype(getattr(ms, dtype))


def wide(x):
    import mindspore as ms

    return (x.astype(ms.float32) if "Float" in str(x.dtype) else x).asnumpy().astype(np.float64)


def close(got, expected, dtype, roundings):
    """To so many roundings of the largest value of a row."""
    got, expected = wide(got), np.asarray(expected)
    assert got.shape == expected.shape
    allowed = roundings * ROUNDING[dtype] * np.abs(expected).max(-1, keepdims=True)
    assert np.all(np.abs(got - expected) <= allowed), np.max(np.abs(got - expected) / allowed)


def normed(x, weight):
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + EPS) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def attend(q, keys, values):
    """q: (dim,), keys and values: (n, dim)."""
    shares = np.exp(keys @ q * SCALE)
    return shares / shares.sum() @ values


def test_norms(ops, call, dtype, tokens):
    x, residual = tensor(dtype, tokens, HIDDEN), tensor(dtype, tokens, HIDDEN, seed=1)
    heads, weight, small = tensor(dtype, tokens, HEADS, DIM), tensor(dtype, HIDDEN, seed=2), tensor(dtype, DIM, seed=3)

    def norms(x, residual, weight, heads, small):
        both = ops.add_rms_norm(x, residual, weight, EPS)
        return ops.rms_norm(x, weight, EPS), both[0], both[1], ops.rms_norm(heads, small, EPS)

    alone, normed_sum, total, by_head = call(norms, x, residual, weight, heads, small)
    close(alone, normed(wide(x), wide(weight)), dtype, 4)
    close(total, wide(x) + wide(residual), dtype, 2)
    close(normed_sum, normed(wide(x) + wide(residual), wide(weight)), dtype, 8)
    close(by_head, normed(wide(heads), wide(small)), dtype, 4)


def test_linear_and_split(ops, call, dtype, tokens):
    """Together as in a layer, where the graph makes one operator of the two."""
    x, weight = tensor(dtype, tokens, HIDDEN), tensor(dtype, (HEADS + 2 * KV_HEADS) * DIM, HIDDEN, seed=1)

    def project(x, weight):
        qkv = ops.linear(x, weight)
        q, k, v = ops.split_qkv(qkv, HEADS, KV_HEADS)
        return qkv, q + 0, k + 0, v + 0

    qkv, *parts = call(project, x, weight)
    expected = wide(x) @ wide(weight).T
    close(qkv, expected, dtype, 4)
    by_head = expected.reshape(tokens, -1, DIM)
    for part, rows in zip(parts, (slice(0, HEADS), slice(HEADS, -KV_HEADS), slice(-KV_HEADS, None)), strict=True):
        assert part.shape == by_head[:, rows].shape
        np.testing.assert_allclose(wide(part), by_head[:, rows], atol=4 * ROUNDING[dtype] * np.abs(expected).max())


@pytest.mark.parametrize("angle_dtype", ["own", "float32"])
def test_rotary(ops, call, dtype, tokens, angle_dtype):
    """At positions up to the Thinker's limit. What rounding does to cos and sin is not held against it."""
    import mindspore as ms

    q, k = tensor(dtype, tokens, HEADS, DIM), tensor(dtype, tokens, KV_HEADS, DIM, seed=1)
    positions = np.array([40000, 7, 0])[:tokens, None]
    half = positions / 1e4 ** (np.arange(DIM // 2) / (DIM // 2))
    angles = np.concatenate([half, half], 1)
    kept = getattr(ms, dtype) if angle_dtype == "own" else ms.float32
    cos, sin = (ms.Tensor(f(angles).astype(np.float32)).astype(kept) for f in (np.cos, np.sin))
    got = call(lambda_of(ops.rotary), q, k, cos, sin)
    cos, sin = (wide(x.astype(getattr(ms, dtype)))[:, None] for x in (cos, sin))
    for x, rotated in zip((wide(q), wide(k)), got, strict=True):
        first, second = x[..., : DIM // 2], x[..., DIM // 2 :]
        expected = x * cos + np.concatenate([-second, first], -1) * sin
        close(rotated, expected, dtype, 4)


def lambda_of(operator):
    """A graph is compiled anew from it, whatever was compiled from the operator before."""

    def run(*tensors):
        return operator(*tensors)

    return run


def test_swiglu(ops, call, dtype, tokens):
    x = tensor(dtype, tokens, 2 * INNER)
    close(call(lambda_of(ops.swiglu), x), silu(wide(x)[:, :INNER]) * wide(x)[:, INNER:], dtype, 8)


@pytest.mark.parametrize("before", [0, 6])
def test_attention_of_a_prompt(ops, dtype, tokens, before):
    """The queries are the last of all positions. Outside graphs alone: in one, the lengths of a decode graph that was
    in this process before would be taken."""
    q = tensor(dtype, tokens, HEADS, DIM)
    k, v = (tensor(dtype, before + tokens, KV_HEADS, DIM, seed=seed) for seed in (1, 2))
    got = wide(ops.prefill_attention(q, k, v, SCALE)).reshape(tokens, HEADS, DIM)
    for i, head in np.ndindex(tokens, HEADS):
        kv, seen = head // (HEADS // KV_HEADS), before + i + 1
        expected = attend(wide(q)[i, head], wide(k)[:seen, kv], wide(v)[:seen, kv])
        np.testing.assert_allclose(got[i, head], expected, atol=16 * ROUNDING[dtype])


@pytest.mark.parametrize("normalize", [True, False])
def test_route(ops, call, dtype, tokens, normalize):
    import mindspore as ms

    x, router = tensor(dtype, tokens, HIDDEN), tensor(dtype, EXPERTS, HIDDEN, seed=1)

    def route(x, router):
        return ops.route(x, router, TOP_K, normalize)

    shares, chosen = call(route, x, router)
    assert (shares.dtype, chosen.dtype, chosen.shape) == (ms.float32, ms.int32, (tokens, TOP_K))
    logits = wide(x) @ wide(router).T
    chances = np.exp(logits - logits.max(-1, keepdims=True))
    chances /= chances.sum(-1, keepdims=True)
    expected = np.argsort(-logits, -1)[:, :TOP_K]
    np.testing.assert_array_equal(chosen.asnumpy(), expected)
    picked = np.take_along_axis(chances, expected, -1)
    picked = picked / picked.sum(-1, keepdims=True) if normalize else picked
    np.testing.assert_allclose(shares.asnumpy(), picked, atol=ROUNDING[dtype] * 2 * np.abs(logits).max())


def test_experts(ops, call, dtype, tokens):
    import mindspore as ms

    x = tensor(dtype, tokens, HIDDEN)
    gate_up, down = tensor(dtype, EXPERTS, 2 * INNER, HIDDEN, seed=1), tensor(dtype, EXPERTS, HIDDEN, INNER, seed=2)
    shares = np.random.default_rng(3).uniform(0.1, 1, (tokens, TOP_K)).astype(np.float32)
    chosen = np.array([[7, 0], [3, 7], [0, 3]], np.int32)[:tokens]
    packed = call(lambda_of(ops.pack_experts), gate_up, down)
    for made, given in zip(packed, (gate_up, down), strict=True):
        np.testing.assert_array_equal(wide(made), wide(given).swapaxes(1, 2))
    got = call(lambda_of(ops.experts), x, ms.Tensor(shares), ms.Tensor(chosen), *packed)
    expected = np.zeros((tokens, HIDDEN))
    for i, choice in np.ndindex(tokens, TOP_K):
        both = wide(gate_up)[chosen[i, choice]] @ wide(x)[i]
        expected[i] += shares[i, choice] * (wide(down)[chosen[i, choice]] @ (silu(both[:INNER]) * both[INNER:]))
    close(got, expected, dtype, 16)


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"EMULATED_SOC": "Ascend910_9392"}, id="A3"),
        pytest.param({"EMULATED_SOC": "Ascend910B4"}, id="910B4", marks=pytest.mark.slow),
    ],
)
def test_other_machines(environment, tmp_path):
    """All of the above in a process of its own: CANN documents fewer operators for A3 and for A2's inference cards."""
    line = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", __file__, "-k", "not other_machines"]
    result = subprocess.run(line, env={**os.environ, **environment}, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
