"""Emulated attention of inference (one query, many, paged caches) against loops in float64, and its limits."""

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32
from ascend_emulator.refusal import INVALID_PARAMETER, NOT_EMULATED
from emulated_calls import HALVES, assert_near, call, empty, exact, operator, random, refused, tensor
from test_emulated_attention import SCALE, TRIANGLE, by_loops, laid_out

FUSED = ["aclnnFusedInferAttentionScoreV2", "aclnnFusedInferAttentionScoreV3"]


def one_query(dtype=FLOAT16, keys=17, heads=4, kv=2, dim=16, layout="BNSD", seed=0, **more):
    """(arguments, q, k, v) of aclnnIncreFlashAttentionV4."""
    q, k, v = (random((n, h, dim), dtype, seed + i) for i, (n, h) in enumerate([(1, heads), (keys, kv), (keys, kv)]))
    given = {
        "query": tensor(np.ascontiguousarray(laid_out(q.array, layout)), name="query"),
        "key": [tensor(np.ascontiguousarray(laid_out(k.array, layout)), name="key[0]")],
        "value": [tensor(np.ascontiguousarray(laid_out(v.array, layout)), name="value[0]")],
        "numHeads": heads,
        "numKeyValueHeads": kv,
        "scaleValue": SCALE,
        "inputLayout": layout,
        "innerPrecise": 1,
        "attentionOut": empty(laid_out(q.array, layout).shape, dtype),
        **more,
    }
    return given, exact(q), exact(k), exact(v)


def many_queries(dtype=FLOAT16, rows=3, keys=8, heads=4, kv=2, dim=16, layout="BSND", seed=0, **more):
    """(arguments, q, k, v) of aclnnPromptFlashAttentionV3."""
    q, k, v = (random((n, h, dim), dtype, seed + i) for i, (n, h) in enumerate([(rows, heads), (keys, kv), (keys, kv)]))
    given = {
        "query": tensor(np.ascontiguousarray(laid_out(q.array, layout)), name="query"),
        "key": tensor(np.ascontiguousarray(laid_out(k.array, layout)), name="key"),
        "value": tensor(np.ascontiguousarray(laid_out(v.array, layout)), name="value"),
        "numHeads": heads,
        "numKeyValueHeads": kv,
        "scaleValue": SCALE,
        "inputLayout": layout,
        "preTokens": 2147483647,
        "nextTokens": 2147483647,
        "attentionOut": empty(laid_out(q.array, layout).shape, dtype),
        **more,
    }
    return given, exact(q), exact(k), exact(v)


def fused(given, **more):
    """The arguments of the operator for both, from those of one of the others."""
    names = {"attenMask": "attenMaskOptional", "pseShift": "pseShiftOptional", "blocktable": "blockTableOptional"}
    names["actualSeqLengths"] = "actualSeqLengthsKvOptional"
    changed = {names.get(name, name): value for name, value in given.items()}
    changed["key"], changed["value"] = (x if isinstance(x, list) else [x] for x in (changed["key"], changed["value"]))
    return changed | {"preTokens": 2147483647, "nextTokens": 2147483647} | more


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("layout", ["BNSD", "BSND", "BSH"])
@pytest.mark.parametrize("keys, heads, kv, dim", [(1, 1, 1, 64), (17, 8, 1, 72), (33, 4, 2, 128)])
def test_one_query_equals_the_formula(dtype, layout, keys, heads, kv, dim):
    given, q, k, v = one_query(dtype, keys, heads, kv, dim, layout)
    call("aclnnIncreFlashAttentionV4", **given)
    assert_near(given["attentionOut"], laid_out(by_loops(q, k, v, lambda i, j: True), layout), 1.1, 3e-4)


@pytest.mark.parametrize("shape", [(1, 17), (1, 1, 17), (1, 1, 1, 20)])
@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8])
def test_mask_of_one_query_hides_where_it_is_true(shape, dtype):
    mask = np.arange(shape[-1]).reshape(shape) % 3 == 1
    given, q, k, v = one_query(attenMask=tensor(mask.astype(dtype)))
    call("aclnnIncreFlashAttentionV4", **given)
    wanted = by_loops(q, k, v, lambda i, j: j % 3 != 1)
    assert_near(given["attentionOut"], laid_out(wanted, "BNSD"), 1.1, 3e-4)


@pytest.mark.parametrize("name", FUSED)
def test_the_operator_for_both_takes_one_query_and_writes_the_logarithm_of_the_sum(name):
    sums = empty((1, 4, 1, 1), FLOAT32)
    given, q, k, v = one_query(actualSeqLengths=[9])
    call(name, **fused(given, softmaxLseFlag=True, softmaxLse=sums))
    assert_near(given["attentionOut"], laid_out(by_loops(q, k, v, lambda i, j: j < 9), "BNSD"), 1.1, 3e-4)
    scores = SCALE * np.einsum("hd,jhd->hj", q[0], np.repeat(k, 2, 1))[:, :9]
    assert np.allclose(sums.array[0, :, 0, 0], np.log(np.exp(scores).sum(-1)), rtol=1e-5)


def test_lengths_and_a_list_of_tensors_by_row_of_the_batch():
    given, *_ = one_query()
    q = random((3, 4, 1, 16), FLOAT16, 5)
    lists = [[random((1, 2, n, 16), FLOAT16, n + i) for n in (4, 6, 9)] for i in (0, 50)]
    given |= {"query": q, "key": lists[0], "value": lists[1], "attentionOut": empty(q.shape, FLOAT16)}
    call("aclnnIncreFlashAttentionV4", **given, actualSeqLengths=[4, 2, 9])
    for b, length in enumerate((4, 2, 9)):
        k, v = (exact(tensors[b])[0].swapaxes(0, 1) for tensors in lists)
        wanted = by_loops(exact(q)[b].swapaxes(0, 1), k, v, lambda i, j, n=length: j < n)
        assert np.allclose(exact(given["attentionOut"])[b, :, 0], wanted[0], atol=2e-3)


@pytest.mark.parametrize("by_head", [True, False])
def test_paged_cache(by_head):
    """Blocks of a row lie anywhere; what is behind a row's length is not looked at."""
    given, *_ = one_query()
    q, lengths, table = random((2, 4, 1, 16), FLOAT16, 5), [20, 3], np.array([[3, 1], [0, 2]], np.int32)
    caches = [random((4, 2, 16, 16) if by_head else (4, 16, 32), FLOAT16, i) for i in (6, 7)]
    given |= {"query": q, "key": caches[:1], "value": caches[1:], "attentionOut": empty(q.shape, FLOAT16)}
    given |= {"blockSize": 16, "blocktable": tensor(table), "actualSeqLengths": lengths}
    call("aclnnIncreFlashAttentionV4", **given)
    for b, length in enumerate(lengths):
        rows = []
        for cache in caches:
            x = exact(cache) if by_head else exact(cache).reshape(4, 16, 2, 16).swapaxes(1, 2)
            rows.append(np.array([x[table[b, j // 16], :, j % 16] for j in range(length)]))
        wanted = by_loops(exact(q)[b].swapaxes(0, 1), *rows, lambda i, j: True)
        assert np.allclose(exact(given["attentionOut"])[b, :, 0], wanted[0], atol=2e-3)
    given["blocktable"] = tensor(np.array([[3, 4], [0, 2]], np.int32), name="blocktable")
    with refused("blocktable: block"):
        call("aclnnIncreFlashAttentionV4", **given)


BLOCKS = tensor(np.zeros((1, 2), np.int32), name="t")


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"query": random((1, 4, 2, 16), FLOAT16), "attentionOut": empty((1, 4, 2, 16), FLOAT16)},
            "query: S 2, allowed: 1",
        ),
        ({"query": random((1, 4, 1, 16), FLOAT32, name="query")}, "query: dtype float32"),
        ({"query": random((4, 1, 16), FLOAT16, name="query")}, "query: shape .*allowed: 4 dimensions"),
        ({"attentionOut": empty((4, 1, 16), FLOAT16, "o")}, "o: shape .*allowed: 4 dimensions"),
        ({"attentionOut": empty((1, 4, 1, 16), BFLOAT16, "o")}, "o: dtype bfloat16, expected that of query"),
        (
            {"query": random((0, 4, 1, 16), FLOAT16), "attentionOut": empty((0, 4, 1, 16), FLOAT16)},
            "query: B 0, allowed: 1 to 65536",
        ),
        (
            {"query": random((2, 4, 1, 16), FLOAT16), "attentionOut": empty((2, 4, 1, 16), FLOAT16)},
            "key.0.: batch 1, expected the query's, 2",
        ),
        ({"key": [random((1, 2, 17, 16), FLOAT32, name="key[0]")]}, "key.0.: dtype float32"),
        ({"key": [random((1, 17, 32), FLOAT16, name="key[0]")]}, "key.0.: shape .*allowed: 4 dimensions"),
        ({"key": [random((2, 2, 17, 16), FLOAT16, name="key[0]")]}, "key.0.: batch 2, must be 1 in a list"),
        ({"key": [random((1, 2, 17, 16), FLOAT16)] * 2}, "value: 1 tensors, expected as many as key has, 2"),
        ({name: [random((1, 2, 17, 16), FLOAT16)] * 2 for name in ("key", "value")}, "key: 2 tensors, allowed: 1, or"),
        ({"key": [random((1, 2, 17, 16), BFLOAT16, name="key[0]")]}, "key.0.: dtype bfloat16, expected that of query"),
        ({"key": [random((1, 2, 17, 32), FLOAT16)], "value": [random((1, 2, 17, 32), FLOAT16)]}, "D 32, expected"),
        ({"value": [random((1, 2, 16, 16), FLOAT16, name="value[0]")]}, "value.0.: shape"),
        ({"numKeyValueHeads": 3}, "the quotient must be whole"),
        ({"numHeads": 2}, "has 4 heads, numHeads is 2"),
        ({"numKeyValueHeads": 4}, "is not of 4 heads"),
        ({"inputLayout": "SBH"}, "inputLayout: SBH"),
        ({"innerPrecise": 2}, "innerPrecise: 2"),
        ({"attenMask": tensor(np.zeros((1, 1, 1, 16), bool))}, r"attenMask: shape \(1, 1, 1, 16\)"),
        ({"attenMask": tensor(np.zeros((1, 1, 1, 17), np.float16), name="m")}, "m: dtype float16"),
        ({"attenMask": tensor(np.full((1, 17), 2, np.int8), name="m")}, "m: int8 values must be 0 and 1"),
        ({"attenMask": tensor(np.zeros(17, bool), name="m")}, "m: shape .*allowed: 2 to 4 dimensions"),
        ({"attenMask": tensor(np.zeros((1, 34), bool)[:, ::2], name="m")}, "m: not contiguous"),
        ({"actualSeqLengths": [18]}, "actualSeqLengths: 18, allowed: 0 to S = 17"),
        ({"key": [tensor(np.zeros((1, 2, 16, 17), FLOAT16).swapaxes(2, 3), name="key[0]")]}, "key.0.: not contiguous"),
        ({"pseShift": random((1, 4, 1, 17), FLOAT32, name="p")}, "p: dtype float32"),
        ({"pseShift": random((1, 2, 1, 17), FLOAT16, name="p")}, "pseShift: shape"),
        ({"pseShift": random((4, 1, 17), FLOAT16, name="p")}, "p: shape .*allowed: 4 dimensions"),
        ({"quantScale1": tensor(np.ones(1, np.float32))}, "quantScale1: given, allowed only for int8"),
        ({"blocktable": BLOCKS, "blockSize": 17, "actualSeqLengths": [17]}, "blockSize: 17"),
        ({"blocktable": tensor([[0, 1]], np.int64, "t")}, "t: dtype int64, allowed: int32"),
        ({"blocktable": tensor([0, 1], np.int32, "t")}, "t: shape .*allowed: 2 dimensions"),
        ({"blocktable": BLOCKS, "blockSize": 1024, "actualSeqLengths": [17]}, "blockSize: 1024, allowed: 16 to 512"),
        ({"blocktable": BLOCKS, "blockSize": 16}, "must be given for a paged cache"),
        ({"blocktable": BLOCKS, "blockSize": 16, "actualSeqLengths": [33]}, "actualSeqLengths: 33"),
        ({"blocktable": BLOCKS, "blockSize": 16, "actualSeqLengths": [20]}, "of a paged cache, allowed after"),
    ],
)
def test_limits_of_one_query(change, message):
    given, *_ = one_query()
    with refused(message):
        call("aclnnIncreFlashAttentionV4", **(given | change))


def test_limits_of_a_batch_of_one_query_each():
    given, *_ = one_query(keys=1, heads=1, kv=1)
    given |= {name: random((257, 1, 1, 16), FLOAT16) for name in ("query", "attentionOut")}
    given |= {name: [random((1, 1, 1, 16), FLOAT16)] * 257 for name in ("key", "value")}
    with refused("key: 257 tensors, allowed: at most 256"):
        call("aclnnIncreFlashAttentionV4", **given)
    given |= {name: [random((257, 1, 1, 16), FLOAT16)] for name in ("key", "value")}
    with refused("actualSeqLengths: 2 given, allowed: 1 or >= 257"):
        call("aclnnIncreFlashAttentionV4", **given, actualSeqLengths=[1, 1])


def test_limits_of_pages():
    for kv, dim, blocks, table, message in (
        (2, 16, 2, BLOCKS, None),
        (2, 16, 1, BLOCKS, "key.0.: 1 blocks, the lengths need 2"),
        (2, 16, 2, tensor(np.zeros((2, 2), np.int32), name="t"), r"t: shape \(2, 2\), expected \(1, at least 2\)"),
        (2, 16, 2, tensor(np.zeros((1, 1), np.int32), name="t"), "actualSeqLengths: 17, allowed: 0 to S = 16"),
        (128, 512, 2, BLOCKS, r"key.0.: numKeyValueHeads \* D = 65536, at most 65535"),
    ):
        given, *_ = one_query(heads=kv, kv=kv, dim=dim)
        given |= {name: [random((blocks, 16, kv * dim), FLOAT16, name=f"{name}[0]")] for name in ("key", "value")}
        given |= {"blocktable": table, "blockSize": 16, "actualSeqLengths": [17]}
        if message is None:
            call("aclnnIncreFlashAttentionV4", **given)
        else:
            with refused(message):
                call("aclnnIncreFlashAttentionV4", **given)


def test_head_size_and_groups_are_bounded():
    for heads, kv, dim, message in ((65, 1, 16, "at most 64"), (1, 1, 513, "D 513"), (257, 257, 1, "numHeads: 257")):
        given, *_ = one_query(keys=1, heads=heads, kv=kv, dim=dim)
        with refused(message):
            call("aclnnIncreFlashAttentionV4", **given)


def test_int8_caches_are_refused_by_name():
    given, *_ = one_query()
    given |= {name: [tensor(np.zeros((1, 2, 17, 16), np.int8))] for name in ("key", "value")}
    with refused("int8 caches", NOT_EMULATED):
        call("aclnnIncreFlashAttentionV4", **given)


def test_documented_for_a3_or_not(monkeypatch):
    monkeypatch.setenv("EMULATED_SOC", "Ascend910_9392")
    given, *_ = one_query()
    with refused("not documented for A3 cards"):
        call("aclnnIncreFlashAttentionV4", **given)
    assert all("A3" in operator("aclnn", name).socs for name in (*FUSED, "aclnnPromptFlashAttentionV3"))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("layout", ["BSND", "BNSD", "BSH"])
@pytest.mark.parametrize("rows, keys", [(1, 9), (3, 8), (8, 8), (5, 3)])
def test_many_queries_are_causal_from_the_lower_right_in_mode_3(dtype, layout, rows, keys):
    given, q, k, v = many_queries(dtype, rows, keys, 8, 1, 32, layout, sparseMode=3, attenMask=tensor(TRIANGLE))
    call("aclnnPromptFlashAttentionV3", **given)
    first = max(rows - keys, 0)  # rows before it see nothing and are zero
    wanted = np.zeros((rows, 8, 32))
    wanted[first:] = by_loops(q[first:], k, v, lambda i, j: j - keys <= i + first - rows)
    assert_near(given["attentionOut"], laid_out(wanted, layout), 1.1, 3e-4)


def test_mode_2_is_causal_from_the_upper_left():
    given, q, k, v = many_queries(sparseMode=2, attenMask=tensor(TRIANGLE[None, None]))
    call("aclnnPromptFlashAttentionV3", **given)
    assert_near(given["attentionOut"], by_loops(q, k, v, lambda i, j: j <= i)[None], 1.1, 3e-4)


def test_tokens_ahead_count_in_mode_0_with_a_mask_only():
    """MindSpore's default is nextTokens 0: one query with a mask then looks at key 0 alone."""
    mask = tensor(np.zeros((1, 1, 1, 8), bool))
    given, q, k, v = many_queries(rows=1, layout="BNSD", attenMask=mask, nextTokens=0)
    call("aclnnPromptFlashAttentionV3", **given)
    assert_near(given["attentionOut"], laid_out(by_loops(q, k, v, lambda i, j: j == 0), "BNSD"), 1.1, 3e-4)
    given, q, k, v = many_queries(rows=1, layout="BNSD", nextTokens=0)
    call("aclnnPromptFlashAttentionV3", **given)
    assert_near(given["attentionOut"], laid_out(by_loops(q, k, v, lambda i, j: True), "BNSD"), 1.1, 3e-4)


def test_output_in_another_layout_and_lengths():
    given, q, k, v = many_queries(layout="BNSD", actualSeqLengthsKv=[5])
    given |= {"inputLayout": "BNSD_BSND", "attentionOut": empty((1, 3, 4, 16), FLOAT16)}
    call("aclnnPromptFlashAttentionV3", **given)
    assert_near(given["attentionOut"], by_loops(q, k, v, lambda i, j: j < 5)[None], 1.1, 3e-4)


@pytest.mark.parametrize("name", FUSED)
def test_the_operator_for_both_takes_many_queries(name):
    given, q, k, v = many_queries(sparseMode=3, attenMask=tensor(TRIANGLE))
    call(name, **fused(given))
    assert_near(given["attentionOut"], by_loops(q, k, v, lambda i, j: j - 8 <= i - 3)[None], 1.1, 3e-4)
    given, *_ = many_queries(dim=72)
    with refused("D 72, must be a multiple of 16"):
        call(name, **fused(given))
    with refused("keySharedPrefixOptional: given", NOT_EMULATED):
        call(name, **fused(given), keySharedPrefixOptional=random((1, 1), FLOAT16))


@pytest.mark.parametrize(
    "change, message, status",
    [
        ({"softmaxLse": None}, "softmaxLse: a null pointer, although softmaxLseFlag is true", INVALID_PARAMETER),
        ({"softmaxLse": empty((1, 4, 3, 1), FLOAT16, "s")}, "s: dtype float16", INVALID_PARAMETER),
        ({"softmaxLse": empty((1, 4, 3), FLOAT32, "s")}, "s: shape", INVALID_PARAMETER),
        ({"innerPrecise": 4}, "innerPrecise: 4, allowed: 0 to 3", INVALID_PARAMETER),
        ({"blockTableOptional": BLOCKS}, "paged prefill is not emulated", NOT_EMULATED),
        ({"attentionOut": empty((1, 3, 4, 16), np.int8)}, "int8 output .* is not emulated", NOT_EMULATED),
    ],
)
def test_limits_of_the_operator_for_both(change, message, status):
    given, *_ = many_queries()
    given = fused(given, softmaxLseFlag=True, softmaxLse=empty((1, 4, 3, 1), FLOAT32))
    with refused(message, status):
        call("aclnnFusedInferAttentionScoreV3", **(given | change))


def test_heads_without_an_axis_divide_the_last_dimension():
    for change, message in (
        ({"query": random((1, 1, 66), FLOAT16)}, "query: H 66, must be a multiple of numHeads 4"),
        ({name: [random((1, 17, 30), FLOAT16, name="k")] for name in ("key", "value")}, "k: H 30, expected .* 2 . 16"),
    ):
        given, *_ = one_query(layout="BSH")
        given |= change
        with refused(message):
            call("aclnnIncreFlashAttentionV4", **(given | {"attentionOut": empty(given["query"].shape, FLOAT16)}))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"inputLayout": "TND"}, "inputLayout: TND"),
        ({"sparseMode": 5}, "sparseMode: 5"),
        ({"sparseMode": 3}, "attenMask: a null pointer, which sparseMode 3"),
        ({"sparseMode": 3, "attenMask": tensor(np.ones((3, 8), bool))}, "sparseMode 3 allows"),
        ({"sparseMode": 3, "attenMask": tensor(~TRIANGLE)}, "of the compressed mask"),
        ({"attenMask": tensor(np.ones((3, 7), bool))}, r"attenMask: shape \(3, 7\)"),
        ({"attenMask": tensor(np.ones((1, 4, 3, 8), bool))}, r"attenMask: shape \(1, 4, 3, 8\)"),
        ({"attenMask": tensor(np.ones((8, 6), bool)[::2, :])}, "not contiguous"),
        ({"attenMask": tensor(np.ones((3, 8), FLOAT16), name="m")}, "m: dtype float16"),
        ({"attenMask": tensor(np.ones(8, bool), name="m")}, "m: shape .*allowed: 2 to 4 dimensions"),
        ({"attenMask": tensor(np.full((3, 8), 2, np.int8), name="m")}, "m: int8 values must be 0 and 1"),
        ({"innerPrecise": 4}, "innerPrecise: 4"),
        ({"key": random((1, 8, 2, 16), BFLOAT16, name="key")}, "key: dtype bfloat16"),
        ({"query": tensor(np.zeros((1, 3, 8, 16), FLOAT16)[:, :, ::2], name="query")}, "query: not contiguous"),
        ({"actualSeqLengths": [4]}, "actualSeqLengths: 4, allowed: 0 to S = 3"),
        ({"actualSeqLengthsKv": [9]}, "actualSeqLengthsKv: 9"),
        ({"attentionOut": empty((1, 3, 4, 8), FLOAT16, "o")}, "o: shape"),
        ({"quantScale1": tensor(np.ones(1, np.float32))}, "quantScale1: given, allowed only for int8"),
    ],
)
def test_limits_of_many_queries(change, message):
    given, *_ = many_queries()
    with refused(message):
        call("aclnnPromptFlashAttentionV3", **(given | change))


def test_sizes_of_many_queries_are_bounded():
    given, *_ = many_queries(rows=1, keys=1, heads=128, kv=128, dim=512)
    with refused(r"N \* D = 65536, allowed in layout BSND"):
        call("aclnnPromptFlashAttentionV3", **given)
    given, *_ = many_queries(dim=513)
    with refused("query: D 513, allowed: at most 512"):
        call("aclnnPromptFlashAttentionV3", **given)
    given, *_ = many_queries(keys=1, heads=1, kv=1, dim=1)
    long = tensor(np.zeros((1, (20 << 20) + 1, 1, 1), FLOAT16))
    with refused("key: S 20971521, allowed: at most 20971520"):
        call("aclnnPromptFlashAttentionV3", **(given | {"key": long, "value": long}))
    given, *_ = many_queries(rows=1, keys=1, heads=1, kv=1, dim=8)
    given |= {n: random((129, 1, 1, 8), FLOAT16) for n in ("query", "key", "value")}
    with refused("B 129, allowed with D 8: at most 128"):
        call("aclnnPromptFlashAttentionV3", **(given | {"attentionOut": empty((129, 1, 1, 8), FLOAT16)}))
