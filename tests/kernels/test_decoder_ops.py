"""The decoder operators by device: which there are, and what Ascend's compute, with stand-ins for the fused ones."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

ms = pytest.importorskip("mindspore")

from decoder_stand_ins import StandIns  # noqa: E402
from mindspore import Tensor  # noqa: E402

from ms_omni.acceptance import formulas  # noqa: E402
from ms_omni.kernels import decoder_ops_ascend as ascend  # noqa: E402
from ms_omni.kernels.decoder_ops import decoder_ops  # noqa: E402

HIDDEN, HEADS, KV_HEADS, DIM, FRAME, EXPERTS, TOP_K, INNER = 32, 4, 2, 8, 6, 8, 3, 12


COMMON = ("scale_dtype", "num_kept", "Sampler", "rows_of")


@pytest.fixture
def stand_ins(cpu, monkeypatch):
    return StandIns(monkeypatch)


@pytest.mark.parametrize("name", COMMON)
def test_both_devices_have_one_signature(name):
    on_ascend, on_cpu = (getattr(decoder_ops(device), name) for device in ("Ascend", "CPU"))
    assert inspect.signature(on_ascend) == inspect.signature(on_cpu)
    assert on_ascend.__doc__ and on_cpu.__doc__


def test_another_device_is_refused():
    with pytest.raises(ValueError, match="device 'GPU': expected one of Ascend, CPU"):
        decoder_ops("GPU")


def test_the_table_imports_no_mindspore():
    code = "import sys, ms_omni.kernels.decoder_ops; assert 'mindspore' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def random(*shape, seed=0):
    return Tensor(np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32))


def inputs_of(name, tokens):
    """Tensors and constants for one call, float32. Experts' weights are not packed yet."""
    x = random(tokens, HIDDEN)
    qkv = (random(tokens, HEADS, DIM), random(tokens, KV_HEADS, DIM, seed=1), random(tokens, KV_HEADS, DIM, seed=2))
    angle = np.concatenate([random(tokens, DIM // 2, seed=3).asnumpy()] * 2, 1)
    chosen = np.stack([np.random.default_rng(i).permutation(EXPERTS)[:TOP_K] for i in range(tokens)]).astype(np.int32)
    return {
        "linear": (x, random(24, HIDDEN)),
        "split_qkv": (random(tokens, (HEADS + 2 * KV_HEADS) * DIM), HEADS, KV_HEADS),
        "rotary": (*qkv[:2], Tensor(np.cos(angle)), Tensor(np.sin(angle))),
        "frame_attention": (qkv[0], *(random(tokens, KV_HEADS, FRAME, DIM, seed=seed) for seed in (4, 5)), 0.3),
        "prefill_attention": (*qkv, 0.3),
        "prefill_attention after others": (qkv[0], *(random(tokens + 4, KV_HEADS, DIM, seed=s) for s in (1, 2)), 0.3),
        "route": (x, random(EXPERTS, HIDDEN), TOP_K, True),
        "pack_experts": (random(TOP_K, 2 * INNER, HIDDEN), random(TOP_K, HIDDEN, INNER)),
        "experts": (
            x,
            random(tokens, TOP_K),
            Tensor(chosen),
            random(EXPERTS, 2 * INNER, HIDDEN).asnumpy(),
            random(EXPERTS, HIDDEN, INNER).asnumpy(),
        ),
    }[name]


def quantized(*shape, seed=0):
    """int8 values, and the scales of rows (the last axis but one)."""
    given = np.random.default_rng([seed, *shape])
    scales = given.uniform(0.5, 1, shape[:-1]).astype(np.float32) / 127
    return given.integers(-127, 128, shape).astype(np.int8), scales


@pytest.mark.parametrize("tokens", [1, 7])
@pytest.mark.parametrize("mode", ["int8", "dynamic"])
def test_8_bit_weights_are_the_formulas(stand_ins, mode, tokens):
    """Those that the values and their scales stand for; int8-dynamic rounds what it multiplies."""
    x, weights, chosen, _, _ = inputs_of("experts", tokens)
    taken = formulas.rounded_rows if mode == "dynamic" else np.asarray
    values, scales = quantized(24, HIDDEN)
    made = getattr(ascend, f"{mode}_linear")(x, Tensor(values), Tensor(scales)).asnumpy()
    np.testing.assert_allclose(made, taken(x.asnumpy()) @ (values * scales[:, None]).T, rtol=1e-5, atol=1e-5)

    gate_up, down = quantized(EXPERTS, 2 * INNER, HIDDEN, seed=1), quantized(EXPERTS, HIDDEN, INNER, seed=2)
    packed = ascend.pack_experts(*(Tensor(part[0]) for part in (gate_up, down)))
    given = (packed[0], Tensor(gate_up[1]), packed[1], Tensor(down[1]))
    made = getattr(ascend, f"{mode}_experts")(x, weights, chosen, *given).asnumpy()
    whole = [values * scales[..., None] for values, scales in (gate_up, down)]
    right = formulas.experts(x.asnumpy(), weights.asnumpy(), chosen.asnumpy(), *whole, taken)
    np.testing.assert_allclose(made, right, rtol=1e-4, atol=1e-4 * np.abs(right).max())


def arrays(result):
    return [part.asnumpy() for part in (result if isinstance(result, tuple) else (result,))]


def expected(name, inputs):
    """From the formulas of the acceptance checks."""
    given = [part.asnumpy() if isinstance(part, Tensor) else part for part in inputs]
    if name == "linear":
        return [given[0] @ given[1].T]
    if name == "split_qkv":
        heads = given[0].reshape(len(given[0]), -1, DIM)
        return np.split(heads, (HEADS, HEADS + KV_HEADS), axis=1)
    if name == "rotary":
        angles = np.arctan2(given[3], given[2])
        return [formulas.rotate(x, angles) for x in given[:2]]
    if name == "frame_attention":
        by_row = [
            formulas.attention(q[None], k.swapaxes(0, 1), v.swapaxes(0, 1), given[3])
            for q, k, v in zip(*given[:3], strict=True)
        ]
        return [np.concatenate(by_row).reshape(len(given[0]), -1)]
    if name.startswith("prefill_attention"):
        return [formulas.attention(*given).reshape(len(given[0]), -1)]
    if name == "route":
        chosen, shares = formulas.route(given[0] @ given[1].T, *given[2:])
        return [shares, chosen]
    return [formulas.experts(*given)]


# tests/ascend has caches in blocks, and the operators that are one fused operator
COMPARED = (
    "linear",
    "split_qkv",
    "rotary",
    "frame_attention",
    "prefill_attention",
    "prefill_attention after others",
    "route",
    "experts",
)


@pytest.mark.parametrize("tokens", [1, 7])
@pytest.mark.parametrize("name", COMPARED)
def test_ascends_operators_are_the_formulas(stand_ins, name, tokens):
    """By the documented meaning of the fused operators."""
    inputs = list(inputs_of(name, tokens))
    right = expected(name, inputs)
    if name == "experts":
        inputs[3:] = ascend.pack_experts(*(Tensor(array) for array in inputs[3:]))
    made = arrays(getattr(ascend, name.split()[0])(*inputs))
    for got, wanted in zip(made, right, strict=True):
        assert got.dtype == (np.int32 if wanted.dtype.kind == "i" else np.float32) and got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_how_experts_are_packed(stand_ins):
    inputs = inputs_of("pack_experts", 1)
    for packed, given in zip(arrays(ascend.pack_experts(*inputs)), inputs, strict=True):
        np.testing.assert_array_equal(packed, given.asnumpy().transpose(0, 2, 1))


def test_routing_weights_that_are_not_normalised(stand_ins):
    inputs = (*inputs_of("route", 7)[:3], False)
    for got, wanted in zip(arrays(ascend.route(*inputs)), expected("route", inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
