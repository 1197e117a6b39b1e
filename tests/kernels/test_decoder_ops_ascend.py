"""What the Ascend decoder operators refuse themselves, where MindSpore's inference checks no shapes. What they compute:
test_decoder_ops.py with stand-ins, tests/ascend on the emulated card."""

import numpy as np
import pytest

ms = pytest.importorskip("mindspore")

from mindspore import Tensor  # noqa: E402

from ms_omni.kernels import decoder_ops_ascend as ascend_ops  # noqa: E402
from ms_omni.kernels import decoder_ops_ascend_paged as paged  # noqa: E402

HEADS, KV_HEADS, DIM = 8, 2, 64
HIDDEN, EXPERTS, TOP_K, INNER = 512, 32, 4, 128


@pytest.fixture(autouse=True)
def elsewhere(cpu, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # a failing graph leaves its dump in the working directory


def ones(*shape, dtype):
    return Tensor(np.ones(shape), dtype)


def compiled(function, *inputs):
    """inputs: tensors are the graph's inputs, what else is constant in it."""
    places = [i for i, value in enumerate(inputs) if isinstance(value, Tensor)]

    def graph(*tensors):
        arguments = list(inputs)
        for number, place in enumerate(places):
            arguments[place] = tensors[number]
        return function(*arguments)

    return ms.jit(graph, jit_level="O0")(*[inputs[place] for place in places])


def wrapper_inputs(name, dtype):
    """Inputs of a decoder layer that takes one token."""
    x, angle = ones(1, HIDDEN, dtype=dtype), ones(1, DIM, dtype=dtype)
    q, k = ones(1, HEADS, DIM, dtype=dtype), ones(1, KV_HEADS, DIM, dtype=dtype)
    gate_up, down = ones(EXPERTS, HIDDEN, 2 * INNER, dtype=dtype), ones(EXPERTS, INNER, HIDDEN, dtype=dtype)
    shares, chosen = ones(1, TOP_K, dtype=ms.float32), ones(1, TOP_K, dtype=ms.int32)
    linear = (x, ones(2 * INNER, HIDDEN, dtype=ms.int8), ones(2 * INNER, dtype=dtype))
    scales = ones(EXPERTS, 2 * INNER, dtype=dtype), ones(EXPERTS, HIDDEN, dtype=dtype)
    quantized = gate_up.astype(ms.int8), scales[0], down.astype(ms.int8), scales[1]
    if name.endswith("_linear"):
        return linear
    if name in ("int8_experts", "dynamic_experts"):
        return x, shares, chosen, *quantized
    return {
        "rotary": (q, k, angle, angle),
        "prefill_attention": (q, k, k, 0.125),
        "experts": (x, shares, chosen, gate_up, down),
    }[name]


@pytest.mark.parametrize(
    "name, place, wrong",
    [
        ("rotary", 2, (1, DIM // 2)),
        ("rotary", 1, (1, KV_HEADS, DIM // 2)),
        ("prefill_attention", 1, (1, KV_HEADS, DIM // 2)),
        ("prefill_attention", 1, (1, 3, DIM)),
        ("experts", 3, (EXPERTS, 2 * INNER, HIDDEN)),
        ("experts", 4, (EXPERTS, HIDDEN, INNER)),
        *((f"{mode}_linear", 0, (1, HIDDEN // 2)) for mode in ("int8", "dynamic")),
        *((f"{mode}_linear", 1, (HIDDEN, 2 * INNER)) for mode in ("int8", "dynamic")),
        *((f"{mode}_linear", 2, (2 * INNER, 1)) for mode in ("int8", "dynamic")),
        *((f"{mode}_experts", 3, (EXPERTS, 2 * INNER, HIDDEN)) for mode in ("int8", "dynamic")),
        *((f"{mode}_experts", 4, (EXPERTS, INNER)) for mode in ("int8", "dynamic")),
        *((f"{mode}_experts", 4, (1, 2 * INNER)) for mode in ("int8", "dynamic")),
        *((f"{mode}_experts", 5, (EXPERTS, HIDDEN, INNER)) for mode in ("int8", "dynamic")),
        *((f"{mode}_experts", 6, (EXPERTS, HIDDEN, 1)) for mode in ("int8", "dynamic")),
    ],
)
def test_a_wrong_shape_is_caught_by_the_wrapper(name, place, wrong):
    inputs = list(wrapper_inputs(name, ms.float16))
    inputs[place] = ones(*wrong, dtype=inputs[place].dtype)
    for call in (lambda: getattr(ascend_ops, name)(*inputs), lambda: compiled(getattr(ascend_ops, name), *inputs)):
        with pytest.raises(ValueError, match=f"{name}: "):
            call()


def test_scales_have_what_cann_documents():
    """GroupedMatmulV4 and QuantMatmulV4 give float16 with float32 scales alone."""
    assert [ascend_ops.scale_dtype("int8", dtype) for dtype in (ms.bfloat16, ms.float16)] == [ms.bfloat16, ms.float16]
    dynamic = [ascend_ops.scale_dtype("int8-dynamic", dtype) for dtype in (ms.bfloat16, ms.float16)]
    assert dynamic == [ms.bfloat16, ms.float32]
    with pytest.raises(ValueError, match="quantize 'none'; expected int8 or int8-dynamic"):
        ascend_ops.scale_dtype("none", ms.float16)


def paged_inputs(name):
    """Inputs of two rows, whose caches are in blocks."""
    cache, k = ones(3, 128, KV_HEADS, DIM, dtype=ms.float16), ones(2, KV_HEADS, DIM, dtype=ms.float16)
    q, many = ones(2, HEADS, DIM, dtype=ms.float16), ones(2, dtype=ms.int32)
    frame = ones(2, KV_HEADS, 5, DIM, dtype=ms.float16)
    return {
        "write_cache": (cache, cache, k, k, many),
        "decode_attention": (q, cache, cache, ones(2, 1, dtype=ms.int32), many, 0.125),
        "frame_attention": (q, frame, frame, 0.125),
        "extend_frame": (frame, k),
    }[name]


@pytest.mark.parametrize(
    "name, place, wrong",
    [
        ("write_cache", 1, (3, 64, KV_HEADS, DIM)),
        ("write_cache", 2, (2, KV_HEADS, DIM // 2)),
        ("write_cache", 3, (2, KV_HEADS + 1, DIM)),
        ("decode_attention", 0, (2, HEADS, DIM // 2)),
        ("decode_attention", 0, (2, HEADS + 1, DIM)),
        ("decode_attention", 2, (3, 64, KV_HEADS, DIM)),
        ("frame_attention", 0, (2, HEADS + 1, DIM)),
        ("frame_attention", 1, (2, KV_HEADS, 5, DIM // 2)),
        ("frame_attention", 2, (2, KV_HEADS, 4, DIM)),
        ("extend_frame", 1, (2, KV_HEADS + 1, DIM)),
    ],
)
def test_a_wrong_shape_of_rows_is_caught(name, place, wrong):
    inputs = list(paged_inputs(name))
    inputs[place] = ones(*wrong, dtype=inputs[place].dtype)
    for call in (lambda: getattr(paged, name)(*inputs), lambda: compiled(getattr(paged, name), *inputs)):
        with pytest.raises(ValueError, match=f"{name}: "):
            call()
