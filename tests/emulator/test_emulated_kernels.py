"""Emulated internal kernels of MindSpore against formulas in float64, and the limits that its libraries state."""

import math

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32
from ascend_emulator.kernel_dtypes import TABLE
from ascend_emulator.refusal import NOT_EMULATED
from ascend_emulator.table import OPERATORS
from emulated_calls import HALVES, assert_near, call_kernel, empty, exact, random, refused, tensor
from test_emulated_attention import by_loops
from test_emulated_rotary import angles, turned

PLAIN = {"transpose_a": 0, "transpose_b": 1, "with_bias": 0, "with_relu": 0, "with_gelu": 0, "enable_dequant": 0}
PLAIN |= {"with_sigmoid_add": 0}


def run(name, inputs, outputs, **attributes):
    call_kernel("internal", name, inputs, outputs, **attributes)


def test_every_kernel_with_dtypes_is_emulated():
    assert {name for kind, name in OPERATORS if kind == "internal"} == {*TABLE, "Split"}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("rows, inner, width, turn", [(1, 128, 5, 1), (7, 17, 3, 1), (3, 4, 6, 0)])
def test_product(dtype, rows, inner, width, turn):
    x, bias = random((rows, inner), dtype, 1), random((width,), FLOAT32, 3)
    w = random((width, inner) if turn else (inner, width), dtype, 2)
    out = empty((rows, width), dtype)
    run("Matmul", [x, w, bias], [out], **(PLAIN | {"transpose_b": turn, "with_bias": 1}))
    wanted = exact(x) @ (exact(w).T if turn else exact(w)) + exact(bias)
    assert_near(out, wanted, 1.1, 5e-5)


@pytest.mark.parametrize("widths", [(4, 2, 2), (5, 3)])
def test_product_split_into_outputs(widths):
    x, w = random((3, 8), BFLOAT16, 1), random((sum(widths), 8), BFLOAT16, 2)
    outs = [empty((3, n), BFLOAT16) for n in widths]
    sizes = dict(zip(("n0", "n1", "n2"), (*widths, 0), strict=False)) | {"silu_position": -1}
    run("MultiWeightMatmul", [x, w], outs, **PLAIN, **sizes)
    wanted = np.split(exact(x) @ exact(w).T, np.cumsum(widths)[:-1], -1)
    for out, one in zip(outs, wanted, strict=True):
        assert_near(out, one, 1.1, 5e-5)
    with refused("expected the sum of the outputs' widths"):
        run("MultiWeightMatmul", [x, w], outs, **PLAIN, **(sizes | {"n0": 1}))
    with refused("transpose_a must be false and transpose_b true"):
        run("MultiWeightMatmul", [x, w], outs, **(PLAIN | {"transpose_b": 0}), **sizes)
    with refused("silu_position", NOT_EMULATED):
        run("MultiWeightMatmul", [x, w], outs, **PLAIN, **(sizes | {"silu_position": 0}))
    with refused("input 1: shape .*allowed: 2 dimensions"):
        run("MultiWeightMatmul", [x, tensor(w.array[None])], outs, **PLAIN, **sizes)
    with refused("input 0: shape .*allowed: 2 or 3 dimensions"):
        run("MultiWeightMatmul", [tensor(x.array[None, None]), w], outs, **PLAIN, **sizes)
    with refused("dtypes bh -> "):
        run("MultiWeightMatmul", [x, random(w.shape, FLOAT16)], outs, **PLAIN, **sizes)
    with refused(f"last: shape .*, expected {widths[-1]} columns"):
        run("MultiWeightMatmul", [x, w], [*outs[:-1], empty((3, 9), BFLOAT16, "last")], **PLAIN, **sizes)


@pytest.mark.parametrize(
    "x, w, change, message",
    [
        (random((2, 8), FLOAT32), random((4, 8), FLOAT32), {}, "dtypes ff -> h, registered"),
        (random((2, 8), FLOAT16), random((4, 7), FLOAT16), {}, "sizes 8, 7 differ"),
        (random((8,), FLOAT16), random((4, 8), FLOAT16), {}, "input 0: shape .8,., allowed: 2 to 4 dimensions"),
        (random((2, 2, 8), FLOAT16), random((3, 4, 8), FLOAT16), {}, "its batch must be that of input 0"),
        (random((2, 8), FLOAT16), random((3, 8), FLOAT16), {}, "output 0: shape .2, 4., expected 6 values"),
    ],
)
def test_limits_of_the_product(x, w, change, message):
    with refused(message):
        run("Matmul", [x, w], [empty((2, 4), FLOAT16)], **(PLAIN | change))
    with refused("with_gelu is not emulated", NOT_EMULATED):
        run(
            "Matmul",
            [random((2, 8), FLOAT16), random((4, 8), FLOAT16)],
            [empty((2, 4), FLOAT16)],
            **(PLAIN | {"with_gelu": 1}),
        )


@pytest.mark.parametrize("dtype", HALVES)
def test_norms(dtype):
    x, y, w = random((3, 4, 16), dtype, 1), random((3, 4, 16), dtype, 2), random((16,), dtype, 3)
    out, reciprocal, total = empty((3, 4, 16), dtype), empty((3, 4, 1), FLOAT32), empty((3, 4, 16), dtype)
    run("RmsNorm", [x, w], [out, reciprocal], eps=1e-6)
    one_over = 1 / np.sqrt((exact(x) ** 2).mean(-1, keepdims=True) + 1e-6)
    assert_near(out, exact(x) * one_over * exact(w), 1.1, 1e-5)
    run("AddRmsNorm", [x, y, w], [out, reciprocal, total], eps=1e-6)
    added = exact(x) + exact(y)
    one_over = 1 / np.sqrt((added**2).mean(-1, keepdims=True) + 1e-6)
    assert_near(out, added * one_over * exact(w), 1.1, 1e-5)
    assert_near(total, added)
    assert np.allclose(reciprocal.array, one_over, rtol=1e-5)
    with refused("expected .16,., the last of"):
        run("RmsNorm", [x, random((8,), dtype)], [out, reciprocal], eps=1e-6)
    with refused("input 1: shape"):
        run("AddRmsNorm", [x, random((3, 1, 16), dtype), w], [out, reciprocal, total], eps=1e-6)
    with refused("dtypes .* registered"):
        run("AddRmsNorm", [x, random((3, 4, 16), FLOAT32), w], [out, reciprocal, total], eps=1e-6)
    with refused("dtypes .* registered"):
        run("RmsNorm", [x, random((16,), FLOAT32)], [out, reciprocal], eps=1e-6)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("tokens, dim", [(1, 128), (5, 72)])
def test_rotary(dtype, form, own, tokens, dim):
    q, k = random((tokens, 8 * dim), dtype, 1), random((tokens, dim), dtype, 2)
    cos, sin = angles((tokens, dim), dtype if own else FLOAT32, form == 3)
    outs = [empty(q.shape, dtype), empty(k.shape, dtype)]
    given = [q, k, cos, sin, tensor([tokens], np.int32)]
    run("ApplyRotaryPosEmb", given, outs, cos_format=form, rotary_coeff=-1)
    for x, out in zip((q, k), outs, strict=True):
        wanted = turned(exact(x).reshape(tokens, -1, dim), exact(cos)[:, None], exact(sin)[:, None], form == 3)
        assert_near(out, wanted.reshape(x.shape), 1.1, 2e-3 if dtype == BFLOAT16 else 2e-4)


def test_limits_of_rotary():
    q, k = random((2, 64), FLOAT16, 1), random((2, 16), FLOAT16, 2)
    cos, sin = angles((2, 16), FLOAT32)
    outs, length = [empty(q.shape, FLOAT16), empty(k.shape, FLOAT16)], tensor([2], np.int32)
    for given, form, message, status in (
        ([q, k, cos, sin, tensor([2], np.int64)], 2, "dtypes hhffl -> hh", None),
        ([q, k, cos, sin, length], 4, "cos_format: 4", None),
        ([q, k, cos, sin, length], 0, "cos_format 0", NOT_EMULATED),
        ([random((2, 60), FLOAT16, name="q"), k, cos, sin, length], 2, "q: shape .* whole heads of 16", None),
        ([q, k, cos, random((2, 8), FLOAT32), length], 2, "expected .tokens, D.", None),
        ([random((128,), FLOAT16), k, cos, sin, length], 2, "allowed: 2 to 4 dimensions", None),
    ):
        with refused(message, *([status] if status else [])):
            run("ApplyRotaryPosEmb", given, outs, cos_format=form, rotary_coeff=-1)
    with refused("o: shape .2, 32., expected .2, 64."):
        outs = [empty((2, 32), FLOAT16, "o"), outs[1]]
        run("ApplyRotaryPosEmb", [q, k, cos, sin, length], outs, cos_format=2, rotary_coeff=-1)
    odd = random((2, 3), FLOAT32, name="cos")
    with refused("cos: D 3 must be even"):
        run("ApplyRotaryPosEmb", [q, k, odd, odd, length], outs, cos_format=2, rotary_coeff=-1)


@pytest.mark.parametrize("dtype", [*HALVES, FLOAT32])
def test_value_by_value(dtype):
    x, y, out = random((2, 3), dtype, 1), random((3,), dtype, 2), empty((2, 3), dtype)
    for name, function in (("Add", np.add), ("Mul", np.multiply), ("Sub", np.subtract), ("RealDiv", np.divide)):
        if {"Sub": dtype == FLOAT32, "RealDiv": dtype != FLOAT16}.get(name, False):
            with refused("registered"):
                run(name, [x, y], [out])
            continue
        run(name, [x, y], [out])
        assert_near(out, function(exact(x), exact(y)), 1.1)
    with refused("do not broadcast"):
        run("Add", [x, random((2,), dtype)], [out])


def test_integers_of_64_bits_stay_exact():
    big, out = tensor([2**53 + 1], np.int64), empty((1,), np.int64)
    run("Sub", [big, tensor([1], np.int64)], [out])
    assert out.array.item() == 2**53
    run("Transpose", [tensor([[2**53 + 1, 2]], np.int64)], [turned_out := empty((2, 1), np.int64)], axes=[1, 0])
    assert turned_out.array.tolist() == [[2**53 + 1], [2]]


@pytest.mark.parametrize(
    "name, formula",
    [
        ("Swish", lambda v: v / (1 + math.exp(-v))),
        ("GeLU", lambda v: 0.5 * v * math.erfc(-v / math.sqrt(2))),
        ("FastGeLU", lambda v: v / (1 + math.exp(-1.702 * v))),
    ],
)
def test_activations(name, formula):
    x, out = random((3, 5), FLOAT16, 1, 3), empty((3, 5), FLOAT16)
    run(name, [x], [out])
    assert_near(out, np.vectorize(formula)(exact(x)), 1.2, 1e-5)
    with refused("output 0: shape"):
        run(name, [x], [empty((15,), FLOAT16)])
    with refused("dtypes h -> f"):
        run(name, [x], [empty((3, 5), FLOAT32)])


def test_comparison_and_cast():
    out = empty((3,), bool)
    run("NotEqual", [tensor([1, 2, 3], np.int32), tensor(2, np.int32)], [out])
    assert out.array.tolist() == [True, False, True]
    run("LogicalNot", [tensor([0, 1, 7], np.int8)], [out])
    assert out.array.tolist() == [True, False, False]
    made = empty((3,), FLOAT32)
    run("Cast", [tensor([1, 2, 3], np.int64)], [made])
    assert made.array.tolist() == [1, 2, 3]
    run("Cast", [tensor([1 + 2.0**-9, 1 + 3 * 2.0**-8, -7], FLOAT32)], [half := empty((3,), BFLOAT16)])
    assert exact(half).tolist() == [1, 1 + 2 * 2.0**-7, -7]  # ties to even
    with refused("dtypes i -> h"):
        run("Cast", [tensor([1, 2, 3], np.int32)], [empty((3,), FLOAT16)])


def test_softmax_sum_swiglu_and_moves():
    x = random((2, 6), FLOAT16, 1)
    out = empty((2, 6), FLOAT16)
    run("Softmax", [x], [out], axes=[-1])
    assert_near(out, np.exp(exact(x)) / np.exp(exact(x)).sum(-1, keepdims=True), 1.1)
    run("ReduceSum", [x], [total := empty((2, 1), FLOAT16)], axes=[1])
    assert_near(total, exact(x).sum(-1, keepdims=True), 1.1, 1e-5)
    run("SwiGLU", [x], [half := empty((2, 3), FLOAT16)], axis=-1)
    gate, up = np.split(exact(x), 2, -1)
    assert_near(half, gate / (1 + np.exp(-gate)) * up, 1.1, 1e-5)
    run("Transpose", [x], [turned_out := empty((6, 2), FLOAT16)], axes=[1, 0])
    assert np.array_equal(turned_out.array, x.array.T)
    parts = [empty((2, 2), FLOAT16), empty((2, 4), FLOAT16)]
    run("Split", [x], parts, dim=1, sizes=[2, 4])
    assert np.array_equal(np.concatenate([part.array for part in parts], 1), x.array)
    run("Gather", [x, tensor([[5, 0]], np.int32)], [taken := empty((2, 1, 2), FLOAT16)], axes=[1], batch_dims=0)
    assert np.array_equal(taken.array[:, 0], x.array[:, [5, 0]])


def test_limits_of_the_moves():
    x, out = random((2, 6), FLOAT16, 1), empty((2, 6), FLOAT16)
    with refused("dtypes b -> b"):
        run("Softmax", [random((2, 6), BFLOAT16)], [empty((2, 6), BFLOAT16)], axes=[-1])
    with refused("axes: .2., the input has 2 dimensions"):
        run("Softmax", [x], [out], axes=[2])
    with refused("allowed: one axis"):
        run("Softmax", [x], [out], axes=[0, 1])
    with refused("dtypes b -> b"):
        run("ReduceSum", [random((2, 6), BFLOAT16)], [empty((2, 1), BFLOAT16)], axes=[1])
    with refused("must be even"):
        run("SwiGLU", [random((2, 5), FLOAT16)], [empty((2, 2), FLOAT16)], axis=-1)
    with refused("dtypes h -> f"):
        run("SwiGLU", [x], [empty((2, 3), FLOAT32)], axis=-1)
    with refused("axis: 2, the input has shape .2, 6."):
        run("SwiGLU", [x], [empty((2, 3), FLOAT16)], axis=2)
    with refused("output 0: shape .2, 6., expected half of .2, 6."):
        run("SwiGLU", [x], [out], axis=-1)
    with refused("dtypes f -> f"):
        run("Transpose", [random((2, 6), FLOAT32)], [empty((6, 2), FLOAT32)], axes=[1, 0])
    with refused("no order of 2 dimensions"):
        run("Transpose", [x], [out], axes=[0, 0])
    with refused("sizes: .2, 3., expected the sum 6"):
        run("Split", [x], [out, out], dim=1, sizes=[2, 3])
    with refused("sizes: .2, 4., there are 3 outputs"):
        run("Split", [x], [out, out, out], dim=1, sizes=[2, 4])
    with refused("dim: -3, the input has shape .2, 6."):
        run("Split", [x], [out, out], dim=-3, sizes=[2, 4])
    with refused("output 1: dtype float32"):
        run("Split", [x], [out, empty((2, 4), FLOAT32, "output 1")], dim=1, sizes=[2, 4])
    for index in (6, -1):
        with refused("indices outside 0 to 5"):
            run("Gather", [x, tensor([index], np.int32)], [empty((2, 1), FLOAT16)], axes=[1], batch_dims=0)
    with refused("batch_dims", NOT_EMULATED):
        run("Gather", [x, tensor([0], np.int32)], [empty((2, 1), FLOAT16)], axes=[1], batch_dims=1)
    with refused("dtypes hh -> h"):
        run("Gather", [x, tensor([0], FLOAT16)], [empty((2, 1), FLOAT16)], axes=[1], batch_dims=0)
    with refused("axes: .0, 1., allowed: one axis"):
        run("Gather", [x, tensor([0], np.int32)], [empty((2, 1), FLOAT16)], axes=[0, 1], batch_dims=0)


@pytest.mark.parametrize("dtype", HALVES)
def test_paged_caches_are_written_and_read(dtype):
    """7 tokens of one row in blocks 2 and 0, then one query over them."""
    caches = [empty((3, 16, 2, 8), dtype) for _ in range(2)]
    lengths, table = [18], tensor([[2, 0]], np.int32)
    slots = np.array([(2, 0)[p // 16] * 16 + p % 16 for p in range(18)] + [-1], np.int32)
    key, value = random((19, 16), dtype, 1), random((19, 16), dtype, 2)
    run("ReshapeAndCache", [key, value, *caches, tensor(slots)], [None])
    for given, cache in ((key, caches[0]), (value, caches[1])):
        assert np.array_equal(cache.array.reshape(48, 16)[slots[:18]], given.array[:18])
        assert np.all(exact(cache)[1] == 77)  # untouched
    q, out = random((1, 32), dtype, 3), empty((1, 32), dtype)
    more = {"head_num": 4, "kv_head_num": 2, "tor": 0.3, "mask_type": 0, "quant_mode": 0, "kv_seq_len": lengths}
    run("PagedAttention", [q, *caches, table, tensor(lengths, np.int32)], [out], **more)
    k, v = (exact(x)[:18].reshape(18, 2, 8) for x in (key, value))
    wanted = by_loops(exact(q).reshape(1, 4, 8), k, v, lambda i, j: True)
    assert_near(out, wanted.reshape(1, 32), 1.2, 1e-4)


def paged(**change):
    more = {"head_num": 4, "kv_head_num": 2, "tor": 0.3, "mask_type": 0, "quant_mode": 0, "kv_seq_len": [18]} | change
    cache = change.pop("cache", random((3, 16, 2, 8), FLOAT16, name="input 1"))
    inputs = [
        random((1, 32), FLOAT16, name="input 0"),
        cache,
        change.pop("value_cache", cache),
        tensor(change.get("table", [[2, 0]]), np.int32, "input 3"),
    ]
    tensors = ("cache", "value_cache", "table", "lengths", "extra")
    more = {name: value for name, value in more.items() if name not in tensors}
    inputs += [tensor(change.get("lengths", [18]), np.int32), *change.get("extra", [])]
    run("PagedAttention", inputs, [empty((1, 32), FLOAT16)], **more)


@pytest.mark.parametrize(
    "change, message, status",
    [
        ({"kv_seq_len": []}, "kv_seq_len: empty; MindSpore takes it", None),
        ({"kv_seq_len": [18, 18]}, "input 0: shape .1, 32., expected 2 tokens of 4 heads of 8", None),
        ({"value_cache": random((2, 16, 2, 8), FLOAT16, name="v")}, "v: shape .*expected .3, 16, 2, 8.", None),
        ({"lengths": [17]}, "the lengths on the device are .17.", None),
        ({"table": [[2, 3]]}, "input 3: blocks .2, 3., the cache has 3", None),
        ({"table": [[2]]}, "input 3: shape .1, 1., expected .1, at least 2.", None),
        ({"cache": random((3, 15, 2, 8), FLOAT16, name="c")}, "c: blocks of 15, allowed: multiples of 16", None),
        ({"cache": random((1, 16, 2, 257), FLOAT16, name="c")}, "c: D 257, allowed: 1 to 256", None),
        ({"cache": random((1, 144, 2, 128), FLOAT16, name="c")}, "c: blocks of 144 times D 128, allowed: 16384", None),
        ({"cache": random((3, 16, 16), FLOAT16, name="c")}, "c: shape .*expected .blocks, size, kv heads, D.", None),
        ({"cache": random((3, 16, 2, 8), FLOAT32, name="c")}, "dtypes hffii--- -> h", None),
        ({"kv_head_num": 4}, "kv_head_num: 4, the caches have 2 heads", None),
        ({"head_num": 3}, "head_num: 3, must be a multiple of 2", None),
        ({"quant_mode": 1}, "quant_mode", NOT_EMULATED),
        ({"mask_type": 1}, "masks are not emulated", NOT_EMULATED),
    ],
)
def test_limits_of_paged_attention(change, message, status):
    with refused(message, *([status] if status else [])):
        paged(**change)


def test_limits_of_writing_paged_caches():
    x, cache = random((2, 16), FLOAT16, name="input 0"), random((1, 16, 2, 8), FLOAT16, name="input 2")
    for given, message in (
        ([x, x, cache, cache, tensor([0, 16], np.int32)], "slot 16, the cache has 16"),
        ([x, x, cache, cache, tensor([0, 1], np.int64)], "dtypes hhhhl"),
        ([x, None, cache, None, tensor([0, 1], np.int64)], "dtypes hhhhl"),
        ([x, x, tensor(np.zeros((2, 16), FLOAT16), name="c"), cache, tensor([0, 1], np.int32)], "c: shape .2, 16."),
        ([x, None, cache, cache, tensor([0, 1], np.int32)], "both or none"),
        (
            [random((2, 8), FLOAT16, name="input 0"), x, cache, cache, tensor([0, 1], np.int32)],
            "expected 2 tokens of 16",
        ),
        (
            [x, x, cache, cache, tensor(np.arange(17), np.int32, "input 4")],
            "input 4: 17 tokens, the cache has room for 16",
        ),
    ):
        with refused(message):
            run("ReshapeAndCache", given, [None])
    run("ReshapeAndCache", [x, None, cache, None, tensor([3, 4], np.int32)], [None])
    assert np.array_equal(cache.array.reshape(16, 16)[3:5], x.array)


@pytest.mark.parametrize("layout", [0, 1])
def test_flash_attention_without_a_mask(layout):
    q, k, v = random((5, 4, 16), BFLOAT16, 1), random((7, 2, 16), BFLOAT16, 2), random((7, 2, 16), BFLOAT16, 3)
    laid = [x.array[None].swapaxes(1, 2) if layout else x.array.reshape(1, x.shape[0], -1) for x in (q, k, v)]
    out = empty(laid[0].shape, BFLOAT16)
    more = {"head_num": 4, "layout": layout, "tor": 0.3, "sparse_mode": 0}
    run("FlashAttentionScore", [*map(tensor, laid), None, None], [out], **more)
    wanted = by_loops(*(exact(x) for x in (q, k, v)), lambda i, j: True)
    assert_near(out, wanted.swapaxes(0, 1)[None] if layout else wanted.reshape(1, 5, -1), 1.1, 1e-3)
    for change in ({"sparse_mode": 3}, {"layout": 3}):
        with refused("MS_DISABLE_INTERNAL_KERNELS_LIST", NOT_EMULATED):
            run("FlashAttentionScore", [*map(tensor, laid), None, None], [out], **(more | change))
    with refused("dtypes bbb-- -> f"):
        run("FlashAttentionScore", [*map(tensor, laid), None, None], [empty(out.shape, FLOAT32)], **more)
    with refused("output 0: shape .1, 2."):
        run("FlashAttentionScore", [*map(tensor, laid), None, None], [empty((1, 2), BFLOAT16)], **more)
