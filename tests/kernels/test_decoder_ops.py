"""Both devices' decoder operators: the same names and signatures, and the same results."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

ms = pytest.importorskip("mindspore")

from decoder_stand_ins import StandIns  # noqa: E402
from mindspore import Parameter, Tensor  # noqa: E402

from ms_omni.kernels.decoder_ops import OPERATORS, decoder_ops  # noqa: E402

HIDDEN, HEADS, KV_HEADS, DIM, CAPACITY, EXPERTS, TOP_K, INNER = 32, 4, 2, 8, 16, 8, 3, 12


@pytest.fixture
def stand_ins(cpu, monkeypatch):
    return StandIns(monkeypatch)


@pytest.mark.parametrize("name", OPERATORS)
def test_both_devices_have_one_signature(name):
    ascend, cpu_function = (getattr(decoder_ops(device), name) for device in ("Ascend", "CPU"))
    assert inspect.signature(ascend) == inspect.signature(cpu_function)
    assert ascend.__doc__ and cpu_function.__doc__


def test_neither_device_has_an_operator_of_its_own():
    for device in ("Ascend", "CPU"):
        module = decoder_ops(device)
        public = {
            name
            for name, value in vars(module).items()
            if (inspect.isfunction(value) or inspect.isclass(value))
            and value.__module__.startswith(module.__name__)
            and not name.startswith("_")
        }
        assert public == set(OPERATORS)
        assert module.JIT_OPTIONS["jit_level"] == "O0"


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
    normed = (random(tokens, HIDDEN), random(HIDDEN, seed=1))
    qkv = (random(tokens, HEADS, DIM), random(tokens, KV_HEADS, DIM, seed=1), random(tokens, KV_HEADS, DIM, seed=2))
    angle = np.concatenate([random(tokens, DIM // 2, seed=3).asnumpy()] * 2, 1)
    cache = (random(1, KV_HEADS, CAPACITY, DIM, seed=4), random(1, KV_HEADS, CAPACITY, DIM, seed=5))
    mask = np.where(np.arange(CAPACITY) > 5, np.float32(-1e30), np.float32(0))
    chosen = np.stack([np.random.default_rng(i).permutation(EXPERTS)[:TOP_K] for i in range(tokens)]).astype(np.int32)
    return {
        "prepare_mask": (Tensor(mask),),
        "rms_norm": (*normed, 1e-6),
        "add_rms_norm": (normed[0], random(tokens, HIDDEN, seed=6), normed[1], 1e-6),
        "linear": (normed[0], random(24, HIDDEN)),
        "split_qkv": (random(tokens, (HEADS + 2 * KV_HEADS) * DIM), HEADS, KV_HEADS),
        "rotary": (*qkv[:2], Tensor(np.cos(angle)), Tensor(np.sin(angle))),
        "write_cache": (cache[0], random(KV_HEADS, DIM), Tensor([3], ms.int32)),
        "cache_shape": (KV_HEADS, CAPACITY, DIM),
        "cache_rows": (KV_HEADS, CAPACITY, 3, 5),
        "decode_attention": (qkv[0][0], *cache, Tensor(mask), KV_HEADS, 0.3),
        "prefill_attention": (*qkv, 0.3),
        "prefill_attention after others": (qkv[0], *(random(tokens + 4, KV_HEADS, DIM, seed=s) for s in (1, 2)), 0.3),
        "swiglu": (random(tokens, HIDDEN),),
        "route": (normed[0], random(EXPERTS, HIDDEN), TOP_K, True),
        "pack_experts": (random(TOP_K, 2 * INNER, HIDDEN), random(TOP_K, HIDDEN, INNER)),
        "experts": (
            normed[0],
            random(tokens, TOP_K),
            Tensor(chosen),
            random(EXPERTS, 2 * INNER, HIDDEN).asnumpy(),
            random(EXPERTS, HIDDEN, INNER).asnumpy(),
        ),
    }[name]


def prepared(module, name, inputs):
    """The inputs with what the device prepares once: caches, mask and experts' weights."""
    inputs = list(inputs)
    if name == "decode_attention":
        inputs[1:3] = [x.reshape(module.cache_shape(KV_HEADS, CAPACITY, DIM)) for x in inputs[1:3]]
        inputs[3] = module.prepare_mask(inputs[3])
    if name == "experts":
        inputs[3:] = module.pack_experts(*(Tensor(array) for array in inputs[3:]))
    return inputs


def arrays(result):
    return [part.asnumpy() for part in (result if isinstance(result, tuple) else (result,))]


# num_kept and Sampler: tests/runtime/test_sampling.py
NOT_COMPARED = ("pack_experts", "prepare_mask", "write_cache", "cache_shape", "cache_rows", "num_kept", "Sampler")
COMPARED = [name for name in OPERATORS if name not in NOT_COMPARED] + ["prefill_attention after others"]


@pytest.mark.parametrize("tokens", [1, 7])
@pytest.mark.parametrize("name", COMPARED)
def test_the_devices_agree(stand_ins, name, tokens):
    """By the documented meaning of the fused operators."""
    results = []
    for device in ("Ascend", "CPU"):
        module = decoder_ops(device)
        operator = getattr(module, name.split()[0])
        results.append(arrays(operator(*prepared(module, name, inputs_of(name, tokens)))))
    for ascend, cpu_result in zip(*results, strict=True):
        assert ascend.dtype == cpu_result.dtype and ascend.shape == cpu_result.shape
        np.testing.assert_allclose(ascend, cpu_result, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("start", "count"), [(0, 5), (3, 1), (9, 7)])
def test_the_devices_caches_hold_the_same(stand_ins, start, count):
    """Whatever their shape, and whatever rows are to the device."""
    held = []
    for device in ("Ascend", "CPU"):
        module = decoder_ops(device)
        shape = module.cache_shape(KV_HEADS, CAPACITY, DIM)
        cache = Parameter(random(KV_HEADS * CAPACITY, DIM, seed=4).reshape(shape), name=f"{device}_{start}")
        rows = Tensor(module.cache_rows(KV_HEADS, CAPACITY, 2, 2 + count) + np.int32(start - 2))
        written = module.write_cache(cache, random(KV_HEADS * count, DIM), rows)
        held.append(written.asnumpy().reshape(KV_HEADS, CAPACITY, DIM))
    np.testing.assert_array_equal(*held)


@pytest.mark.parametrize(("device", "axes"), [("Ascend", (0, 2, 1)), ("CPU", (0, 1, 2))])
def test_how_experts_are_packed(stand_ins, device, axes):
    inputs = inputs_of("pack_experts", 1)
    for packed, given in zip(arrays(decoder_ops(device).pack_experts(*inputs)), inputs, strict=True):
        np.testing.assert_array_equal(packed, given.asnumpy().transpose(axes))


def test_routing_weights_that_are_not_normalised_agree(stand_ins):
    inputs = (*inputs_of("route", 7)[:3], False)
    for ascend, cpu_result in zip(*(arrays(decoder_ops(device).route(*inputs)) for device in ("Ascend", "CPU"))):
        np.testing.assert_allclose(ascend, cpu_result, rtol=1e-5)
