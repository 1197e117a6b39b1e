"""The Ascend decoder operators, as far as a machine without a card can check them.

A fused operator has no CPU kernel, and MindSpore says so only after type and shape inference has accepted the call: the
error "unsupported" proves a well-formed call. What the wrappers compute is checked with stand-ins in numpy, written
from the operators' documentation.
"""

import re

import numpy as np
import pytest

ms = pytest.importorskip("mindspore")

from mindspore import Parameter, Tensor  # noqa: E402

from ms_omni.kernels import decoder_ops_ascend as ascend_ops  # noqa: E402
from ms_omni.kernels import decoder_ops_ascend_primitives as primitives  # noqa: E402

TOKENS, HEADS, KV_HEADS, DIM, CAPACITY = 3, 8, 2, 64, 128
HIDDEN, EXPERTS, TOP_K, INNER = 512, 32, 4, 128


# Each function of `primitives` that launches a fused operator, and that operator
FUSED = {
    "rms_norm": "RmsNorm",
    "add_rms_norm": "AddRmsNorm",
    "split": "SplitWithSize",
    "rotary_position_embedding": "RotaryPositionEmbedding",
    "swiglu": "Swiglu",
    "scatter_update": "KVCacheScatterUpdate",
    "attention": "PromptFlashAttention",
    "causal_attention": "PromptFlashAttention",
    "moe_gating_top_k_softmax": "MoeGatingTopKSoftmax",
    "moe_init_routing": "MoeInitRoutingV2",
    "grouped_matmul": "GroupedMatmulV4",
    "moe_token_unpermute": "InnerMoeTokenUnpermute",  # what MoeTokenUnpermute becomes when it is not padded
}
# Inference checks no shapes of these two; the wrappers do, see test_a_wrong_shape_is_caught_by_the_wrapper.
UNCHECKED = {"rotary_position_embedding", "scatter_update"}
# These have CPU kernels. What they are called with is seen in test_decoder_ops.py, by stand-ins for all of them.
WITH_CPU_KERNEL = {"matmul", "cast", "less", "reduce_sum", "div", "transpose"}


@pytest.fixture(autouse=True)
def elsewhere(cpu, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # a failing graph leaves its dump in the working directory


@pytest.fixture(params=[ms.bfloat16, ms.float16], ids=["bfloat16", "float16"])
def half(request):
    return request.param


def ones(*shape, dtype):
    return Tensor(np.ones(shape), dtype)


def compiled(function, *inputs):
    """inputs: tensors are the graph's inputs, what else is constant in it."""
    places = [i for i, value in enumerate(inputs) if isinstance(value, Tensor)]

    def graph(*tensors):
        arguments = list(inputs)
        for place, tensor in zip(places, tensors):
            arguments[place] = tensor
        return function(*arguments)

    return ms.jit(graph, jit_level="O0")(*[inputs[place] for place in places])


def calls(dtype):
    """Function of `primitives`: inputs that fit, inputs that do not, what inference says about those."""
    i32, i64 = ms.int32, ms.int64
    x, weight = ones(TOKENS, HIDDEN, dtype=dtype), ones(HIDDEN, dtype=dtype)
    rows, counts = ones(TOKENS * TOP_K, HIDDEN, dtype=dtype), ones(EXPERTS, dtype=i64)
    places, shares = ones(TOKENS * TOP_K, dtype=i32), ones(TOKENS, TOP_K, dtype=ms.float32)
    chosen, stacked = ones(TOKENS, TOP_K, dtype=i32), ones(EXPERTS, HIDDEN, 2 * INNER, dtype=dtype)
    logits, angle = ones(TOKENS, EXPERTS, dtype=ms.float32), ones(1, TOKENS, 1, DIM, dtype=dtype)
    q, flat_q = ones(1, TOKENS, HEADS, DIM, dtype=dtype), ones(TOKENS, HEADS * DIM, dtype=dtype)
    joined_q, joined_k = ones(1, TOKENS, HEADS * DIM, dtype=dtype), ones(1, CAPACITY, KV_HEADS * DIM, dtype=dtype)
    one, cache = ones(1, HEADS, 1, DIM, dtype=dtype), ones(1, KV_HEADS, CAPACITY, DIM, dtype=dtype)
    new = ones(1, KV_HEADS, TOKENS, DIM, dtype=dtype)
    sizes = (HEADS, KV_HEADS, 0.125)
    masked, short = ones(1, 1, 1, CAPACITY, dtype=ms.bool_), ones(1, 1, 1, CAPACITY - 1, dtype=ms.bool_)
    return {
        "rms_norm": ((x, weight, 1e-6), (x, ones(9, dtype=dtype), 1e-6), "aligned to the corresponding dimension"),
        "add_rms_norm": ((x, x, weight, 1e-6), (x, flat_q, weight[:9], 1e-6), "[Ss]hape|aligned"),
        "split": ((x, (256, 128, 128)), (x, (256, 128, 120)), "split_size"),
        "rotary_position_embedding": ((q, angle, angle), None, None),
        "scatter_update": ((Parameter(cache, name="written"), Tensor([3], i32), new), None, None),
        "swiglu": ((x,), (ones(TOKENS, 9, dtype=dtype),), "must be divisible by 2"),
        "attention": ((one, cache, cache, masked, *sizes), (one, cache, cache, short, *sizes), "atten_mask shape"),
        "causal_attention": (
            (joined_q, joined_k, joined_k, *sizes),
            (joined_q, joined_k[..., 1:], joined_k, *sizes),
            "KV_H should be equal",
        ),
        "moe_gating_top_k_softmax": ((logits, TOP_K), (ones(EXPERTS, dtype=dtype), TOP_K), "must be 2D or 3D"),
        "moe_init_routing": (
            (x, chosen, EXPERTS),
            (x, ones(TOKENS, TOP_K, dtype=i64), EXPERTS),
            "dtype of input expert_idx is invalid",
        ),
        "grouped_matmul": (
            (rows, stacked, counts),
            (rows, ones(EXPERTS, 2 * INNER, HIDDEN, dtype=dtype), counts),
            "w.0.'s shape should be",
        ),
        "moe_token_unpermute": ((rows, places, shares), (rows, chosen, shares), "should be 1 dimensional"),
    }


def test_every_primitive_is_covered():
    public = {
        name
        for name, value in vars(primitives).items()
        if getattr(value, "__module__", "") == primitives.__name__ and not name.startswith("_")
    }
    assert public == set(FUSED) | WITH_CPU_KERNEL


@pytest.mark.parametrize("name", FUSED)
def test_inference_accepts_the_call(name, half):
    with pytest.raises(RuntimeError, match=re.escape(f"Unsupported op [{FUSED[name]}] on CPU")):
        compiled(getattr(primitives, name), *calls(half)[name][0])


@pytest.mark.parametrize("name", sorted(set(FUSED) - {"split", "moe_token_unpermute"}))
def test_inference_accepts_the_call_outside_a_graph(name, half):
    """Not split, which gives views there, nor MoeTokenUnpermute, which the CPU build refuses before inference."""
    with pytest.raises(RuntimeError, match=f"The kernel {FUSED[name]} unregistered"):
        getattr(primitives, name)(*calls(half)[name][0])


@pytest.mark.parametrize("name", sorted(set(FUSED) - UNCHECKED))
def test_inference_refuses_a_wrong_call(name, half):
    _, bad, message = calls(half)[name]
    with pytest.raises((RuntimeError, ValueError, TypeError), match=message) as refusal:
        compiled(getattr(primitives, name), *bad)
    assert "Unsupported op" not in str(refusal.value)


def test_operators_with_a_cpu_kernel_infer_bfloat16():
    x, weight = ones(TOKENS, HIDDEN, dtype=ms.bfloat16), ones(EXPERTS, HIDDEN, dtype=ms.bfloat16)
    with pytest.raises(TypeError, match=r"Select CPU operator\[MatMul\] fail! Unsupported data type"):
        compiled(primitives.matmul, x, weight)
    with pytest.raises(ValueError, match="MatMul"):
        compiled(primitives.matmul, x, weight[:, 1:])


def wrapper_inputs(name, dtype):
    """Inputs of a decoder layer that takes one token."""
    x, weight, angle = ones(1, HIDDEN, dtype=dtype), ones(HIDDEN, dtype=dtype), ones(1, DIM, dtype=dtype)
    q, k = ones(1, HEADS, DIM, dtype=dtype), ones(1, KV_HEADS, DIM, dtype=dtype)
    cache, masked = ones(1, KV_HEADS, CAPACITY, DIM, dtype=dtype), ones(CAPACITY, dtype=ms.bool_)
    gate_up, down = ones(EXPERTS, HIDDEN, 2 * INNER, dtype=dtype), ones(EXPERTS, INNER, HIDDEN, dtype=dtype)
    shares, chosen = ones(1, TOP_K, dtype=ms.float32), ones(1, TOP_K, dtype=ms.int32)
    return {
        "rms_norm": (x, weight, 1e-6),
        "add_rms_norm": (x, x, weight, 1e-6),
        "split_qkv": (x, 4, 2),
        "rotary": (q, k, angle, angle),
        "swiglu": (x,),
        "write_cache": (Parameter(cache, name="wrapped"), ones(KV_HEADS, DIM, dtype=dtype), Tensor([3], ms.int32)),
        "decode_attention": (ones(HEADS, DIM, dtype=dtype), cache, cache, masked, KV_HEADS, 0.125),
        "prefill_attention": (q, k, k, 0.125),
        "experts": (x, shares, chosen, gate_up, down),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "rms_norm", "add_rms_norm", "split_qkv", "rotary", "swiglu", "write_cache", "decode_attention",
        "prefill_attention", "experts",
    ],  # fmt: skip
)
def test_the_whole_wrapper_is_inferred(name):
    """A graph's operators are all inferred before the first kernel is looked for. In float16 only: the CPU build has no
    bfloat16 Reshape, and would stop at that."""
    wrapper = getattr(ascend_ops, name)
    with pytest.raises(RuntimeError, match=re.escape(f"Unsupported op [{wrapper.launches[0]}] on CPU")):
        compiled(wrapper, *wrapper_inputs(name, ms.float16))


def test_the_whole_route_is_inferred():
    x, router = ones(1, HIDDEN, dtype=ms.float16), ones(EXPERTS, HIDDEN, dtype=ms.float16)
    with pytest.raises(RuntimeError, match=r"Unsupported op \[MoeGatingTopKSoftmax\] on CPU"):
        compiled(ascend_ops.route, x, router, TOP_K, True)


@pytest.mark.parametrize(
    "name, place, wrong",
    [
        ("rotary", 2, (1, DIM // 2)),
        ("rotary", 1, (1, KV_HEADS, DIM // 2)),
        ("write_cache", 0, (KV_HEADS * CAPACITY, DIM)),
        ("write_cache", 1, (KV_HEADS, DIM // 2)),
        ("write_cache", 1, (KV_HEADS + 1, DIM)),
        ("decode_attention", 2, (1, KV_HEADS, CAPACITY, DIM // 2)),
        ("decode_attention", 3, (CAPACITY - 1,)),
        ("prefill_attention", 1, (1, KV_HEADS, DIM // 2)),
        ("prefill_attention", 1, (1, 3, DIM)),
        ("experts", 3, (EXPERTS, 2 * INNER, HIDDEN)),
        ("experts", 4, (EXPERTS, HIDDEN, INNER)),
    ],
)
def test_a_wrong_shape_is_caught_by_the_wrapper(name, place, wrong):
    inputs = list(wrapper_inputs(name, ms.float16))
    inputs[place] = ones(*wrong, dtype=inputs[place].dtype)
    for call in (lambda: getattr(ascend_ops, name)(*inputs), lambda: compiled(getattr(ascend_ops, name), *inputs)):
        with pytest.raises(ValueError, match=f"{name}: "):
            call()
