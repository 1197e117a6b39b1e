"""Emulated attention against attention written with loops in float64, and its limits."""

import math

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32
from ascend_emulator.refusal import NOT_EMULATED
from emulated_calls import HALVES, assert_near, call, empty, exact, random, refused, tensor

SCALE = 0.3
TRIANGLE = np.triu(np.ones((2048, 2048), bool), 1)


def by_loops(q, k, v, sees, scale=SCALE, term=None):
    """q: (S, N, D), k, v: (keys, kv, D), float64. sees(i, j): whether query i looks at key j."""
    rows, heads, _ = q.shape
    out = np.zeros((rows, heads, v.shape[2]))
    for i in range(rows):
        for h in range(heads):
            g = h // (heads // k.shape[1])
            seen = [j for j in range(k.shape[0]) if sees(i, j)]
            scores = [scale * (q[i, h] @ k[j, g] + (0 if term is None else term[h, i, j])) for j in seen]
            weights = [math.exp(s - max(scores)) for s in scores]
            for w, j in zip(weights, seen, strict=True):
                out[i, h] += w / sum(weights) * v[j, g]
    return out


def laid_out(array, layout):
    """(S, N, D) of one row of the batch as CANN's layout has it."""
    if layout == "BSND":
        return array[None]
    if layout == "BNSD":
        return array.swapaxes(0, 1)[None]
    flat = array.reshape(array.shape[0], -1)
    return flat[None] if layout == "BSH" else flat[:, None]


def training(dtype=FLOAT16, rows=5, keys=5, heads=4, kv=2, dim=16, layout="BSND", seed=0, **more):
    """(arguments, q, k, v in float64) of aclnnFlashAttentionScore."""
    q, k, v = (random((n, h, dim), dtype, seed + i) for i, (n, h) in enumerate([(rows, heads), (keys, kv), (keys, kv)]))
    given = {
        "query": tensor(laid_out(q.array, layout), name="query"),
        "key": tensor(laid_out(k.array, layout), name="key"),
        "value": tensor(laid_out(v.array, layout), name="value"),
        "scaleValue": SCALE,
        "keepProb": 1.0,
        "preTokens": 2147483647,
        "nextTokens": 2147483647,
        "headNum": heads,
        "inputLayout": layout,
        "softmaxMaxOut": empty((1, heads, rows, 8), FLOAT32),
        "softmaxSumOut": empty((1, heads, rows, 8), FLOAT32),
        "attentionOutOut": empty(laid_out(q.array, layout).shape, dtype),
        **more,
    }
    return given, exact(q), exact(k), exact(v)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("layout", ["BSND", "BNSD", "BSH", "SBH"])
@pytest.mark.parametrize("rows, keys, heads, kv, dim", [(1, 1, 2, 2, 8), (3, 7, 8, 1, 72), (7, 3, 4, 2, 16)])
def test_every_layout_equals_the_formula(dtype, layout, rows, keys, heads, kv, dim):
    given, q, k, v = training(dtype, rows, keys, heads, kv, dim, layout)
    call("aclnnFlashAttentionScore", **given)
    wanted = by_loops(q, k, v, lambda i, j: True)
    assert_near(given["attentionOutOut"], laid_out(wanted, layout), 1.1, 2e-4)


# What a query may look at, and what the compressed mask hides, for S < N, S = N and S > N
MODES = {
    2: lambda i, j, rows, keys: j <= i,
    3: lambda i, j, rows, keys: j - keys <= i - rows,
    4: lambda i, j, rows, keys: -2 <= (j - keys) - (i - rows) <= 1,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows, keys", [(1, 1), (2, 6), (6, 6), (4, 5)])
def test_modes_with_the_compressed_mask(mode, rows, keys):
    more = {"preTokens": 2, "nextTokens": 1} if mode == 4 else {}
    given, q, k, v = training(rows=rows, keys=keys, sparseMode=mode, attenMaskOptional=tensor(TRIANGLE), **more)
    call("aclnnFlashAttentionScore", **given)
    wanted = by_loops(q, k, v, lambda i, j: MODES[mode](i, j, rows, keys))
    assert_near(given["attentionOutOut"], wanted[None], 1.1, 2e-4)


def test_rows_before_the_first_key_are_zero_in_mode_3():
    given, q, k, v = training(rows=6, keys=4, sparseMode=3, attenMaskOptional=tensor(TRIANGLE))
    call("aclnnFlashAttentionScore", **given)
    assert np.all(exact(given["attentionOutOut"])[0, :2] == 0)
    wanted = by_loops(q[2:], k, v, lambda i, j: j <= i)
    assert np.allclose(exact(given["attentionOutOut"])[0, 2:], wanted, atol=2e-3)


@pytest.mark.parametrize("shape", [(5, 6), (1, 1, 5, 6), (1, 4, 5, 6)])
def test_mask_of_every_position(shape):
    mask = np.random.default_rng(5).random(shape) < 0.4
    mask[..., 0] = False
    given, q, k, v = training(rows=5, keys=6, attenMaskOptional=tensor(mask.astype(np.uint8)))
    call("aclnnFlashAttentionScore", **given)
    every_head = np.broadcast_to(mask.reshape((1,) * (4 - mask.ndim) + mask.shape), (1, 4, 5, 6))[0]
    for head in range(4):
        one = by_loops(
            q[:, head : head + 1],
            k[:, head // 2][:, None],
            v[:, head // 2][:, None],
            lambda i, j, h=head: not every_head[h, i, j],
        )
        assert np.allclose(exact(given["attentionOutOut"])[0, :, head], one[:, 0], atol=2e-3)


def test_the_term_is_scaled_too_and_the_statistics_are_written():
    term = random((1, 4, 5, 5), FLOAT16, 9)
    given, q, k, v = training(realShiftOptional=term)
    call("aclnnFlashAttentionScore", **given)
    assert_near(given["attentionOutOut"], by_loops(q, k, v, lambda i, j: True, term=exact(term)[0])[None], 1.1, 2e-4)
    score = SCALE * (np.einsum("d,jd->j", q[1, 2], k[:, 1]) + exact(term)[0, 2, 1])
    assert np.allclose(exact(given["softmaxMaxOut"])[0, 2, 1], score.max(), rtol=1e-5)
    assert np.allclose(exact(given["softmaxSumOut"])[0, 2, 1], np.exp(score - score.max()).sum(), rtol=1e-5)


def test_views_and_a_batch():
    q = random((2, 3, 12, 16), BFLOAT16, 1).array[:, :, ::3]
    k, v = (random((2, 5, 2, 32), BFLOAT16, i).array[..., ::2] for i in (2, 3))
    given, *_ = training(BFLOAT16, 3, 5)
    given |= {
        "query": tensor(q),
        "key": tensor(k),
        "value": tensor(v),
        "attentionOutOut": empty((2, 3, 4, 16), BFLOAT16),
    }
    given |= {name: empty((2, 4, 3, 8), FLOAT32) for name in ("softmaxMaxOut", "softmaxSumOut")}
    call("aclnnFlashAttentionScore", **given)
    for b in range(2):
        wanted = by_loops(*(x[b].astype(np.float64) for x in (q, k, v)), lambda i, j: True)
        assert np.allclose(exact(given["attentionOutOut"])[b], wanted, atol=0.02)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"inputLayout": "TND"}, "inputLayout: TND"),
        ({"key": random((1, 5, 2, 16), BFLOAT16, name="key")}, "key: dtype bfloat16, expected that of query"),
        ({"query": random((1, 5, 4, 16), np.float64, name="query")}, "query: dtype float64"),
        ({"headNum": 8}, "has 4 heads, headNum is 8"),
        ({"query": random((5, 4, 16), FLOAT16, name="query")}, "query: shape .*allowed: 4 dimensions"),
        ({"headNum": 0}, "headNum: 0, allowed: more than 0"),
        ({"key": random((1, 5, 2, 8), FLOAT16, name="key")}, "key: D 8, expected the query's, 16"),
        ({"key": random((2, 5, 2, 16), FLOAT16, name="key")}, "key: batch 2"),
        ({"value": random((1, 4, 2, 16), FLOAT16, name="value")}, "value: shape"),
        ({"value": random((1, 5, 2, 17), FLOAT16, name="value")}, "value: D 17, allowed: at most the key's, 16"),
        (
            {"key": random((1, 5, 3, 16), FLOAT16), "value": random((1, 5, 3, 16), FLOAT16)},
            "multiple of the key's heads, 3",
        ),
        ({"keepProb": 0.0}, "keepProb: 0.0"),
        ({"sparseMode": 7}, "sparseMode: 7"),
        ({"sparseMode": 3, "attenMaskOptional": tensor(np.ones((5, 5), bool))}, r"expected \(2048, 2048\)"),
        ({"attenMaskOptional": tensor(np.ones((5, 4), bool), name="m")}, r"attenMaskOptional: shape \(5, 4\)"),
        ({"attenMaskOptional": tensor(np.ones((5, 5), np.int8), name="m")}, "m: dtype int8"),
        (
            {"sparseMode": 3, "attenMaskOptional": tensor(~TRIANGLE, name="m")},
            "m: of the compressed mask all values above",
        ),
        ({"innerPrecise": 3}, "innerPrecise: 3"),
        ({"softmaxMaxOut": empty((1, 4, 5), FLOAT32, "m")}, r"m: shape \(1, 4, 5\), expected \(1, 4, 5, 8\)"),
        ({"attentionOutOut": empty((1, 5, 4, 16), FLOAT32, "o")}, "o: dtype float32"),
        ({"attentionOutOut": empty((1, 5, 4, 8), FLOAT16, "o")}, "o: shape"),
        ({"softmaxSumOut": empty((1, 4, 5, 8), FLOAT16, "s")}, "s: dtype float16"),
        ({"paddingMaskOptional": tensor(np.zeros((5, 5), bool))}, "paddingMaskOptional: reserved"),
        (
            {"sparseMode": 4, "attenMaskOptional": tensor(TRIANGLE), "preTokens": 1, "nextTokens": -2},
            "preTokens 1 and nextTokens -2 have nothing in common",
        ),
        ({"nextTokens": 0, "attenMaskOptional": tensor(np.zeros((5, 5), bool))}, "must agree"),
        ({"realShiftOptional": random((1, 4, 5, 5), FLOAT32, name="p")}, "p: dtype float32"),
        ({"realShiftOptional": random((4, 5, 5), FLOAT16, name="p")}, "p: shape .*allowed: 4 dimensions"),
    ],
)
def test_limits_of_flash_attention_score(change, message):
    given, *_ = training()
    with refused(message):
        call("aclnnFlashAttentionScore", **(given | change))


def test_the_last_dimension_without_heads_is_a_multiple_of_their_size():
    given, *_ = training(layout="BSH")
    for change, message in (
        ({"headNum": 3}, "query: shape .1, 5, 64., H must be a multiple of headNum 3"),
        ({"key": random((1, 5, 30), FLOAT16)}, "key: shape .1, 5, 30., H must be a multiple of the query's D 16"),
    ):
        with refused(message):
            call("aclnnFlashAttentionScore", **(given | change))


def test_what_is_not_emulated_is_refused_by_name():
    given, *_ = training()
    with refused("sparseMode: 5 .prefix. is not emulated", NOT_EMULATED):
        call("aclnnFlashAttentionScore", **given, sparseMode=5)
    with refused("dropout", NOT_EMULATED):
        call("aclnnFlashAttentionScore", **(given | {"keepProb": 0.9}))


def test_head_size_and_number_of_heads_are_bounded():
    for heads, dim, message in ((257, 1, "N: 257, allowed: 1 to 256"), (1, 769, "D: 769, allowed: 1 to 768")):
        given, *_ = training(rows=1, keys=1, heads=heads, kv=heads, dim=dim)
        with refused(message):
            call("aclnnFlashAttentionScore", **given)


def test_documented_for_a2_only(monkeypatch):
    given, *_ = training()
    for soc in ("Ascend910B4", "Ascend910B2C"):
        monkeypatch.setenv("EMULATED_SOC", soc)
        call("aclnnFlashAttentionScore", **given)
    monkeypatch.setenv("EMULATED_SOC", "Ascend910_9392")
    with refused("not documented for A3 cards, only for A2"):
        call("aclnnFlashAttentionScore", **given)
