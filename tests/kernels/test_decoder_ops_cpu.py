"""The CPU decoder operators against plain numpy, outside and inside compiled graphs."""

import numpy as np
import pytest

ms = pytest.importorskip("mindspore")

from mindspore import Parameter, Tensor  # noqa: E402

from ms_omni.kernels import decoder_ops_cpu as cpu_ops  # noqa: E402

EPS = 1e-6


@pytest.fixture(scope="module", autouse=True)
def on_cpu(cpu):
    """As in use: launches blocking, the other CPU kernels filled in."""


@pytest.fixture(params=["pynative", "jit"])
def run(request):
    """Calls an operator as it is, or in a graph compiled for it."""

    def call(function, inputs, *constants):
        def graph(*tensors):
            return function(*tensors, *constants)

        return (graph if request.param == "pynative" else ms.jit(graph, **cpu_ops.JIT_OPTIONS))(*inputs)

    return call


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def tensors(*arrays):
    return [Tensor(array) for array in arrays]


def close(actual, expected):
    assert actual.dtype == ms.float32
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=1e-5, atol=1e-5)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def silu(x):
    return x / (1 + np.exp(-x))


def norm(x, weight):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPS) * weight


@pytest.mark.parametrize("shape", [(1, 32), (7, 48), (3, 4, 16)])
def test_rms_norm(run, shape):
    x, weight = random(*shape), random(shape[-1], seed=1)
    close(run(cpu_ops.rms_norm, tensors(x, weight), EPS), norm(x, weight))


@pytest.mark.parametrize("shape", [(1, 32), (7, 48)])
def test_add_rms_norm(run, shape):
    x, residual, weight = random(*shape), random(*shape, seed=1), random(shape[-1], seed=2)
    normed, total = run(cpu_ops.add_rms_norm, tensors(x, residual, weight), EPS)
    close(total, x + residual)
    close(normed, norm(x + residual, weight))


def test_the_variance_of_half_precision_is_taken_in_float32():
    x = np.full((1, 8), 300.0, np.float16)  # 300^2 overflows float16
    out = cpu_ops.rms_norm(Tensor(x), Tensor(np.ones(8, np.float16)), EPS)
    assert out.dtype == ms.float16
    np.testing.assert_allclose(out.asnumpy(), 1.0, rtol=1e-3)


@pytest.mark.parametrize("tokens", [1, 5])
def test_linear(run, tokens):
    x, weight = random(tokens, 24), random(40, 24, seed=1)
    close(run(cpu_ops.linear, tensors(x, weight)), x @ weight.T)


@pytest.mark.parametrize("tokens", [1, 3])
def test_split_qkv(run, tokens):
    qkv = random(tokens, 8 * 4)
    q, k, v = run(cpu_ops.split_qkv, tensors(qkv), 4, 2)
    heads = qkv.reshape(tokens, 8, 4)
    close(q, heads[:, :4])
    close(k, heads[:, 4:6])
    close(v, heads[:, 6:])


@pytest.mark.parametrize("tokens, heads, kv_heads, dim", [(1, 4, 1, 8), (5, 4, 2, 16), (3, 2, 2, 64)])
def test_rotary(run, tokens, heads, kv_heads, dim):
    q, k = random(tokens, heads, dim), random(tokens, kv_heads, dim, seed=1)
    angles = np.concatenate([random(tokens, dim // 2, seed=2)] * 2, 1)
    cos, sin = np.cos(angles), np.sin(angles)
    rotated = run(cpu_ops.rotary, tensors(q, k, cos, sin))
    for x, out in zip((q, k), rotated):
        turned = np.concatenate([-x[..., dim // 2 :], x[..., : dim // 2]], -1)
        close(out, x * cos[:, None] + turned * sin[:, None])


@pytest.mark.parametrize("shape", [(1, 16), (5, 12), (2, 3, 8)])
def test_swiglu(run, shape):
    x = random(*shape) * 3
    half = shape[-1] // 2
    close(run(cpu_ops.swiglu, tensors(x)), silu(x[..., :half]) * x[..., half:])


@pytest.mark.parametrize("mode", ["pynative", "jit"])
def test_write_cache_is_in_place_and_read_after_it(mode):
    cache = Parameter(Tensor(np.zeros((6, 4), np.float32)), name=f"cache_{mode}")
    rows, values = np.array([4, 1], np.int32), random(2, 4)

    def write(new, where):
        return cpu_ops.write_cache(cache, new, where).sum()

    function = write if mode == "pynative" else ms.jit(write, **cpu_ops.JIT_OPTIONS)
    total = function(*tensors(values, rows))
    expected = np.zeros((6, 4), np.float32)
    expected[rows] = values
    np.testing.assert_allclose(total.asnumpy(), values.sum(), rtol=1e-5)
    np.testing.assert_array_equal(cache.asnumpy(), expected)


def attention(q, k, v, scale, hidden):
    """q: (S, heads, dim); k, v: (n, kv_heads, dim); hidden: bool (S, n)."""
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scores = np.einsum("shd,nhd->hsn", q, k) * scale
    out = np.einsum("hsn,nhd->shd", softmax(np.where(hidden, -np.inf, scores)), v)
    return out.reshape(len(q), -1)


@pytest.mark.parametrize(
    "heads, kv_heads, dim, capacity, filled", [(4, 4, 8, 16, 16), (8, 2, 16, 32, 5), (6, 1, 8, 9, 1)]
)
def test_decode_attention(run, heads, kv_heads, dim, capacity, filled):
    q, k, v = random(heads, dim), random(kv_heads, capacity, dim, seed=1), random(kv_heads, capacity, dim, seed=2)
    hidden = np.arange(capacity) >= filled
    mask = np.where(hidden, np.float32(-1e30), np.float32(0))

    inputs = tensors(q, k.reshape(-1, dim), v.reshape(-1, dim), mask)
    inputs[3] = cpu_ops.prepare_mask(inputs[3])
    out = run(cpu_ops.decode_attention, inputs, kv_heads, 0.3)
    close(out, attention(q[None], k.swapaxes(0, 1), v.swapaxes(0, 1), 0.3, hidden[None])[0])


@pytest.mark.parametrize("tokens, heads, kv_heads, dim", [(1, 4, 2, 8), (7, 4, 4, 8), (50, 8, 2, 16)])
@pytest.mark.parametrize("chunked", [False, True])
def test_prefill_attention(run, monkeypatch, tokens, heads, kv_heads, dim, chunked):
    if chunked:  # 50 tokens: chunks of 16, 16, 16 and 2
        monkeypatch.setattr(cpu_ops, "SCORES_PER_CHUNK", 1)
    q, k, v = random(tokens, heads, dim), random(tokens, kv_heads, dim, seed=1), random(tokens, kv_heads, dim, seed=2)
    out = run(cpu_ops.prefill_attention, tensors(q, k, v), 0.3)
    close(out, attention(q, k, v, 0.3, np.triu(np.ones((tokens, tokens), bool), 1)))


def test_the_chunks_of_a_long_prompt_bound_its_scores():
    assert cpu_ops._chunk(100, 8) == 100
    for tokens in (4096, 32768, 1 << 20):
        rows = cpu_ops._chunk(tokens, 32)
        assert rows == cpu_ops.MIN_CHUNK or rows * 32 * tokens <= cpu_ops.SCORES_PER_CHUNK


def routing(x, router, top_k, normalize):
    probabilities = softmax(x @ router.T)
    chosen = np.argsort(-probabilities, -1, kind="stable")[:, :top_k]
    weights = np.take_along_axis(probabilities, chosen, -1)
    return (weights / weights.sum(-1, keepdims=True) if normalize else weights), chosen


EXPERT_SIZES = [(1, 4, 1), (1, 8, 2), (6, 4, 4), (5, 32, 8), (40, 16, 4)]  # tokens, experts, top_k


@pytest.mark.parametrize("tokens, num_experts, top_k", EXPERT_SIZES)
@pytest.mark.parametrize("normalize", [False, True])
def test_route(run, tokens, num_experts, top_k, normalize):
    x, router = random(tokens, 24), random(num_experts, 24, seed=1)
    weights, chosen = run(cpu_ops.route, tensors(x, router), top_k, normalize)
    expected, expected_chosen = routing(x, router, top_k, normalize)
    assert chosen.dtype == ms.int32
    np.testing.assert_array_equal(chosen.asnumpy(), expected_chosen)
    close(weights, expected)


def mixture(x, weights, chosen, gate_up, down):
    out = np.zeros_like(x)
    for t, (row, picked) in enumerate(zip(weights, chosen)):
        for weight, expert in zip(row, picked):
            gate, up = np.split(gate_up[expert] @ x[t], 2)
            out[t] += weight * (down[expert] @ (silu(gate) * up))
    return out


@pytest.mark.parametrize("tokens, num_experts, top_k", EXPERT_SIZES)
@pytest.mark.parametrize("size, inner", [(24, 8), (16, 16)])
def test_experts(run, tokens, num_experts, top_k, size, inner):
    x, gate_up, down = random(tokens, size), random(num_experts, 2 * inner, size), random(num_experts, size, inner)
    gate_up, down = gate_up / size**0.5, down / inner**0.5
    weights, chosen = routing(x, random(num_experts, size, seed=1), top_k, True)
    weights, chosen = weights.astype(np.float32), chosen.astype(np.int32)
    inputs = tensors(x, weights, chosen, gate_up, down)
    close(run(cpu_ops.experts, inputs), mixture(x, weights, chosen, gate_up, down))


def test_an_expert_that_saturates_gives_no_overflow():
    x = np.full((2, 4), -1e4, np.float32)
    ones = np.ones((1, 4, 4), np.float32)
    with np.errstate(over="raise"):
        out = cpu_ops.experts(
            *tensors(x, np.ones((2, 1), np.float32), np.zeros((2, 1), np.int32), ones, np.ones((1, 4, 2), np.float32))
        )
    np.testing.assert_allclose(out.asnumpy(), 0, atol=1e-20)
