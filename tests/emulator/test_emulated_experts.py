"""Emulated operators of the mixture of experts against loops in float64, and their limits."""

import math

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32
from ascend_emulator.refusal import NOT_EMULATED, TILING_ERROR
from emulated_calls import HALVES, assert_near, call, empty, exact, random, refused, tensor


def gating(shape=(5, 8), k=3, dtype=FLOAT32, **change):
    out = (*shape[:-1], k)
    given = {"x": random(shape, dtype, 4), "k": k, "yOut": empty(out, dtype), "expertIdxOut": empty(out, np.int32)}
    return given | {"rowIdxOut": empty(out, np.int32)} | change


@pytest.mark.parametrize("dtype", [*HALVES, FLOAT32])
@pytest.mark.parametrize("shape, k", [((1, 4), 1), ((7, 128), 8), ((2, 3, 5), 5)])
def test_gating(dtype, shape, k):
    given = gating(shape, k, dtype)
    call("aclnnMoeGatingTopKSoftmax", **given)
    rows = exact(given["x"]).reshape(-1, shape[-1])
    weights, experts = (given[name].array.reshape(-1, k) for name in ("yOut", "expertIdxOut"))
    for row, (w, e) in enumerate(zip(weights, experts, strict=True)):
        total = sum(math.exp(v) for v in rows[row])
        wanted = sorted((math.exp(v) / total for v in rows[row]), reverse=True)[:k]
        assert np.allclose(w.astype(float), wanted, rtol=2.0**-8)
        assert np.allclose([math.exp(rows[row][i]) / total for i in e], wanted) and len(set(e)) == k
        assert [given["rowIdxOut"].array.reshape(-1, k)[row][j] for j in range(k)] == [
            row + j * len(rows) for j in range(k)
        ]


def test_equal_weights_go_to_the_first_expert_and_finished_rows_to_none():
    given = gating((2, 4), 2, x=tensor(np.zeros((2, 4), FLOAT32)), finishedOptional=tensor([False, True]))
    call("aclnnMoeGatingTopKSoftmax", **given)
    assert given["expertIdxOut"].array.tolist() == [[0, 1], [4, 4]]


@pytest.mark.parametrize(
    "change, message, status",
    [
        ({"k": 9}, "k: 9, allowed with 8 experts: 0 to 8", TILING_ERROR),
        ({"k": -1}, "k: -1", TILING_ERROR),
        ({"x": random((5, 8), np.float64, name="x")}, "x: dtype float64", None),
        ({"yOut": empty((5, 3), FLOAT16, "y")}, "y: dtype float16", None),
        ({"expertIdxOut": empty((5, 3), np.int64, "e")}, "e: dtype int64", None),
        ({"rowIdxOut": empty((5, 2), np.int32, "r")}, "r: shape", None),
        ({"rowIdxOut": empty((5, 3), np.int64, "r")}, "r: dtype int64", None),
        ({"rowIdxOut": tensor(np.zeros((3, 5), np.int32).T, name="r")}, "r: not contiguous", None),
        ({"x": random((8,), FLOAT32, name="x")}, "x: shape .8,., allowed: 2 to 3 dimensions", None),
        ({"finishedOptional": tensor(np.zeros(5, np.int32), name="f")}, "f: dtype int32", None),
        ({"finishedOptional": tensor(np.zeros(4, bool), name="f")}, "f: shape", None),
    ],
)
def test_limits_of_gating(change, message, status):
    with refused(message, *([status] if status else [])):
        call("aclnnMoeGatingTopKSoftmax", **(gating() | change))


def test_at_most_1024_experts_are_chosen():
    with refused("k: 1025, allowed with 2048 experts: 0 to 1024", TILING_ERROR):
        call("aclnnMoeGatingTopKSoftmax", **gating((1, 2048), 1025))
    with refused("an empty tensor", TILING_ERROR):
        call("aclnnMoeGatingTopKSoftmax", **gating((0, 8), 3))


def routing(experts, num_experts=4, width=6, dtype=FLOAT16, **change):
    experts = np.asarray(experts, np.int32)
    rows, k = experts.shape
    given = {
        "x": random((rows, width), dtype, 7),
        "expertIdx": tensor(experts, name="expertIdx"),
        "expertNum": num_experts,
        "expertTokensCountOrCumsumFlag": 2,
        "expertTokensBeforeCapacityFlag": True,
        "expandedXOut": empty((rows * k, width), dtype),
        "expandedRowIdxOut": empty((rows * k,), np.int32),
        "expertTokensCountOrCumsumOut": empty((num_experts,), np.int32),
        "expertTokensBeforeCapacityOut": empty((num_experts,), np.int32),
    }
    return given | change


@pytest.mark.parametrize("dtype", [*HALVES, FLOAT32])
@pytest.mark.parametrize("experts", [[[2, 0]], [[3, 1], [1, 0], [3, 3]], [[0, 0, 0]] * 5, np.zeros((0, 2))])
def test_routing_puts_the_tokens_of_an_expert_together_in_their_order(dtype, experts):
    given = routing(experts, dtype=dtype)
    call("aclnnMoeInitRoutingV2", **given)
    expected, places = [], {}
    for expert in range(4):
        for row, chosen in enumerate(np.asarray(experts)):
            for j, e in enumerate(chosen):
                if e == expert:
                    places[row * len(chosen) + j] = len(expected)
                    expected.append(given["x"].array[row])
    assert np.array_equal(given["expandedXOut"].array, np.array(expected, dtype).reshape(-1, 6))
    assert given["expandedRowIdxOut"].array.tolist() == [places[i] for i in range(len(places))]
    flat = np.asarray(experts).reshape(-1).tolist()
    assert given["expertTokensCountOrCumsumOut"].array.tolist() == [flat.count(e) for e in range(4)]


def test_routing_with_ends_with_a_limit_and_with_a_capacity():
    given = routing([[3, 1], [1, 0]], expertTokensCountOrCumsumFlag=1)
    call("aclnnMoeInitRoutingV2", **given)
    assert given["expertTokensCountOrCumsumOut"].array.tolist() == [1, 3, 3, 4]
    given = routing([[3, 1], [1, 0]], activeNum=3, expandedXOut=empty((3, 6), FLOAT16))
    call("aclnnMoeInitRoutingV2", **given)
    assert np.array_equal(given["expandedXOut"].array, given["x"].array[[1, 0, 1]])
    given = routing([[3, 1], [1, 0]], dropPadMode=1, expertCapacity=1, expandedXOut=empty((4, 1, 6), FLOAT16))
    call("aclnnMoeInitRoutingV2", **given)
    wanted = np.zeros((4, 1, 6), FLOAT16)
    wanted[[0, 1, 3], 0] = given["x"].array[[1, 0, 0]]
    assert np.array_equal(given["expandedXOut"].array, wanted)
    assert given["expandedRowIdxOut"].array.tolist() == [3, 1, -1, 0]
    assert given["expertTokensBeforeCapacityOut"].array.tolist() == [1, 2, 0, 1]


@pytest.mark.parametrize(
    "change, message, status",
    [
        ({"expertIdx": tensor([[3, 1], [1, 0]], np.int64, "e")}, "e: dtype int64", None),
        ({"x": random((2, 6), np.float64, name="x")}, "x: dtype float64", None),
        ({"expertIdx": tensor([[3, 1], [1, 4]], np.int32)}, "expertIdx: values from 1 to 4, allowed: 0 to 3", None),
        ({"expertIdx": tensor([[3, -1], [1, 0]], np.int32)}, "expertIdx: values from -1", None),
        ({"expertIdx": tensor([3, 1], np.int32, "e")}, "e: shape .2,., allowed: 2 dimensions", TILING_ERROR),
        ({"x": random((3, 6), FLOAT16)}, "expected those of x, 3", TILING_ERROR),
        ({"expertNum": 0}, "expertNum: 0, although experts are counted", TILING_ERROR),
        ({"expertNum": -1}, "expertNum: -1", TILING_ERROR),
        ({"activeNum": -1}, "activeNum: -1", TILING_ERROR),
        ({"dropPadMode": 2}, "dropPadMode: 2", TILING_ERROR),
        ({"dropPadMode": 1}, "expertCapacity: 0", TILING_ERROR),
        ({"expertTokensCountOrCumsumFlag": 3}, "expertTokensCountOrCumsumFlag: 3", TILING_ERROR),
        ({"expandedXOut": empty((4, 6), FLOAT32, "o")}, "o: dtype float32", None),
        ({"expandedXOut": empty((3, 6), FLOAT16, "o")}, "o: shape", None),
        ({"expandedRowIdxOut": empty((4,), np.int64, "o")}, "o: dtype int64", None),
        ({"expandedRowIdxOut": empty((3,), np.int32, "o")}, "o: shape", None),
        ({"expandedRowIdxOut": tensor(np.zeros(8, np.int32)[::2], name="o")}, "o: not contiguous", None),
        ({"expertTokensCountOrCumsumOut": None}, "expertTokensCountOrCumsumOut: a null pointer", None),
        ({"expertTokensCountOrCumsumOut": empty((5,), np.int32, "c")}, "c: shape", None),
        ({"expertTokensCountOrCumsumOut": empty((4,), np.int64, "c")}, "c: dtype int64", None),
    ],
)
def test_limits_of_routing(change, message, status):
    with refused(message, *([status] if status else [])):
        call("aclnnMoeInitRoutingV2", **routing([[3, 1], [1, 0]], **change))


@pytest.mark.parametrize("dtype", [*HALVES, FLOAT32])
@pytest.mark.parametrize("probabilities", [None, FLOAT16, BFLOAT16, FLOAT32])
@pytest.mark.parametrize("rows, k", [(1, 2), (5, 3), (4, 1)])
def test_summing_up(dtype, probabilities, rows, k):
    k = 1 if probabilities is None else k
    tokens = random((rows * k, 6), dtype, 1)
    places = np.random.default_rng(2).permutation(rows * k)
    weights = None if probabilities is None else random((rows, k), probabilities, 3)
    out = empty((rows, 6), dtype)
    given = {"permutedTokens": tokens, "sortedIndices": tensor(places, np.int32), "probsOptional": weights, "out": out}
    call(
        "aclnnMoeTokenUnpermute", **given, restoreShapeOptional=[7]
    )  # read only in the padded mode, which there is not
    wanted = np.zeros((rows, 6))
    for i in range(rows):
        for j in range(k):
            wanted[i] += exact(tokens)[places[i * k + j]] * (1 if weights is None else exact(weights)[i, j])
    assert_near(out, wanted, 1.1, 1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"permutedTokens": random((4, 6), np.float64, name="t")}, "t: dtype float64"),
        ({"sortedIndices": tensor([0, 1, 2, 3], np.int64, "i")}, "i: dtype int64"),
        ({"permutedTokens": random((4, 6, 1), FLOAT16, name="t")}, "t: shape .*allowed: 2 dimensions"),
        ({"sortedIndices": tensor([[0, 1], [2, 3]], np.int32, "i")}, "i: shape .*allowed: 1 dimensions"),
        ({"sortedIndices": tensor([0, 1, 2, 2], np.int32)}, "an index occurs twice"),
        ({"sortedIndices": tensor([0, 1, 2, 4], np.int32)}, "sortedIndices: values from 0 to 4"),
        ({"sortedIndices": tensor([0, 1], np.int32)}, "permutedTokens: 4 rows"),
        ({"probsOptional": random((2, 3), FLOAT32)}, "probsOptional: shape"),
        ({"probsOptional": tensor(np.ones((2, 2), np.int32), name="p")}, "p: dtype int32"),
        ({"probsOptional": random((4,), FLOAT32, name="p")}, "p: shape .*allowed: 2 dimensions"),
        ({"paddedMode": True}, "paddedMode: true"),
        ({"out": empty((2, 6), FLOAT32, "o")}, "o: dtype float32"),
        ({"out": empty((4, 6), FLOAT16, "o")}, "o: shape"),
        ({"out": tensor(np.zeros((6, 2), FLOAT16).T, name="o")}, "o: not contiguous"),
    ],
)
def test_limits_of_summing_up(change, message):
    given = {"permutedTokens": random((4, 6), FLOAT16), "sortedIndices": tensor([0, 1, 2, 3], np.int32)}
    given |= {"probsOptional": random((2, 2), FLOAT32), "out": empty((2, 6), FLOAT16)}
    with refused(message):
        call("aclnnMoeTokenUnpermute", **(given | change))
    with refused("topK 513"):
        many = {"permutedTokens": random((513, 1), FLOAT16), "sortedIndices": tensor(np.arange(513), np.int32)}
        call("aclnnMoeTokenUnpermute", **many, probsOptional=random((1, 513), FLOAT16), out=empty((1, 1), FLOAT16))


@pytest.mark.parametrize("kept", [0, 3, -1])
def test_permute(kept):
    given = {"tokens": random((3, 2), FLOAT16), "indices": tensor([[1, 0], [0, 2], [1, 1]], np.int64)}
    order = [0, 1, 0, 2, 2, 1][: kept or 6]
    out, places = empty((len(order), 2), FLOAT16), empty((6,), np.int32)
    call("aclnnMoeTokenPermute", **given, numOutTokens=kept, permuteTokensOut=out, sortedIndicesOut=places)
    assert np.array_equal(out.array, given["tokens"].array[order])
    assert places.array.tolist() == [2, 0, 1, 5, 3, 4]
    given["indices"] = tensor([[1, 0], [0, -2], [1, 1]], np.int32)
    with refused("indices: values from -2"):
        call("aclnnMoeTokenPermute", **given, numOutTokens=kept, permuteTokensOut=out, sortedIndicesOut=places)
    with refused("paddedMode"):
        call("aclnnMoeTokenPermute", **given, paddedMode=True, permuteTokensOut=out, sortedIndicesOut=places)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tokens": random((3, 2), np.float64, name="t")}, "t: dtype float64"),
        ({"tokens": random((3,), FLOAT16, name="t")}, "t: shape .*allowed: 2 to 8 dimensions"),
        ({"tokens": random((4, 2), FLOAT16)}, "indices: 3 rows, expected those of tokens, 4"),
        ({"indices": tensor(np.zeros((3, 2), np.int16), name="i")}, "i: dtype int16"),
        ({"indices": tensor(np.zeros((3, 2, 1), np.int32), name="i")}, "i: shape .*allowed: 1 to 2 dimensions"),
        ({"indices": tensor(np.zeros((3, 513), np.int32))}, "indices: topK 513, allowed: at most 512"),
        (
            {"indices": tensor(np.broadcast_to(np.int32(0), (32768, 512)))},
            "indices: 16777216 values, allowed: less than 16777215",
        ),
        ({"permuteTokensOut": empty((6, 2), FLOAT32, "o")}, "o: dtype float32"),
        ({"permuteTokensOut": empty((5, 2), FLOAT16, "o")}, "o: shape"),
        ({"permuteTokensOut": tensor(np.zeros((2, 6), FLOAT16).T, name="o")}, "o: not contiguous"),
        ({"sortedIndicesOut": empty((6,), np.int64, "s")}, "s: dtype int64"),
        ({"sortedIndicesOut": empty((3,), np.int32, "s")}, "s: shape"),
    ],
)
def test_limits_of_permute(change, message):
    given = {"tokens": random((3, 2), FLOAT16), "indices": tensor(np.zeros((3, 2), np.int32))}
    given |= {"permuteTokensOut": empty((6, 2), FLOAT16), "sortedIndicesOut": empty((6,), np.int32)}
    with refused(message):
        call("aclnnMoeTokenPermute", **(given | change))


def grouped(counts=(2, 0, 3), inner=8, width=6, dtype=FLOAT16, **change):
    rows = sum(counts)
    given = {
        "x": [random((rows, inner), dtype, 1, name="x[0]")],
        "weight": [random((len(counts), inner, width), dtype, 2, name="weight[0]")],
        "groupListOptional": tensor(counts, np.int64, "groupListOptional"),
        "splitItem": 3,
        "groupListType": 1,
        "out": [empty((rows, width), dtype, "out[0]")],
        "biasOptional": [],
        "scaleOptional": [],
    }
    return given | change


@pytest.mark.parametrize("dtype", [*HALVES, FLOAT32])
@pytest.mark.parametrize("counts", [(1, 0), (2, 0, 3), (0, 0, 0, 7), (0, 0), (1,)])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("kind", [0, 1])
def test_grouped_products(dtype, counts, transposed, kind):
    given = grouped(counts, dtype=dtype, groupListType=kind)
    if kind == 0:
        given["groupListOptional"] = tensor(np.cumsum(counts), np.int64)
    if transposed:
        stored = np.ascontiguousarray(given["weight"][0].array.swapaxes(1, 2))
        given["weight"] = [tensor(stored.swapaxes(1, 2))]
    bias = random((len(counts), 6), FLOAT16 if dtype == FLOAT16 else FLOAT32, 5)
    call("aclnnGroupedMatmulV4", **(given | {"biasOptional": [bias]}))
    x, w = exact(given["x"][0]), exact(given["weight"][0])
    expert = [e for e, count in enumerate(counts) for _ in range(count)]
    wanted = np.array([[x[i] @ w[e, :, n] + exact(bias)[e, n] for n in range(6)] for i, e in enumerate(expert)])
    assert_near(given["out"][0], wanted.reshape(-1, 6), 1.1, 1e-4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"groupListOptional": tensor([2, 0, 3], np.int32, "g")}, "g: dtype int32, allowed: int64"),
        ({"groupListOptional": None}, "groupListOptional: must be given"),
        ({"groupListOptional": tensor([2, 0, 2], np.int64)}, "the groups end at row 4, x has 5"),
        ({"groupListOptional": tensor([6, -1, 0], np.int64)}, "must not be negative"),
        ({"groupListOptional": tensor([6, 4, 5], np.int64), "groupListType": 0}, "must not be negative nor fall"),
        ({"groupListOptional": tensor([2, 3], np.int64)}, "2 groups, weight has 3"),
        ({"splitItem": 0}, "splitItem: 0, allowed with groupType 0"),
        ({"splitItem": 4}, "splitItem: 4"),
        ({"groupType": 1}, "groupType: 1"),
        ({"groupListType": 3}, "groupListType: 3"),
        ({"actType": 5}, "actType: 5"),
        ({"x": [random((5, 8), BFLOAT16, name="x")]}, "dtype float16, expected that of x, bfloat16"),
        ({"x": [tensor(np.zeros((5, 8), np.int32), name="x")]}, "x: dtype int32"),
        ({"x": [random((5, 8, 1), FLOAT16, name="x")]}, "x: shape .*allowed: 2 dimensions"),
        ({"weight": []}, "weight: 0 tensors, allowed: 1 to 128"),
        ({"groupListOptional": tensor([[2, 0, 3]], np.int64, "g")}, "g: shape .*allowed: 1 dimensions"),
        ({"x": [random((5, 7), FLOAT16)]}, "x: K 7, expected that of weight, 8"),
        ({"x": [tensor(np.zeros((8, 5), FLOAT16).T, name="x[0]")]}, "x.0.: not contiguous"),
        ({"weight": [random((8, 6), FLOAT16, name="weight[0]")]}, "weight.0.: shape .*allowed: 3 dimensions"),
        (
            {"weight": [tensor(np.zeros((3, 8, 12), FLOAT16)[..., ::2], name="w")]},
            "w: neither contiguous nor transposed",
        ),
        ({"out": [empty((5, 6), FLOAT16)] * 2}, "out: 2 tensors"),
        ({"out": [empty((4, 6), FLOAT16, "o")]}, "o: shape"),
        ({"biasOptional": [random((3, 6), FLOAT32, name="b")]}, "b: dtype float32"),
        ({"biasOptional": [random((3, 5), FLOAT16, name="b")]}, "b: shape"),
        ({"biasOptional": [random((3, 6), FLOAT16)] * 2}, "biasOptional: 2 tensors, expected as many as weight, 1"),
        ({"scaleOptional": [random((3, 6), FLOAT32)]}, "scaleOptional: given, allowed only for quantised"),
        ({"dynQuantScaleOutOptional": [random((3, 6), FLOAT32)]}, "dynQuantScaleOutOptional: must be a null pointer"),
    ],
)
def test_limits_of_grouped_products(change, message):
    with refused(message):
        call("aclnnGroupedMatmulV4", **grouped(**change))


def test_sizes_of_grouped_products_are_bounded():
    with refused("1025 groups, allowed: 1 to 1024"):
        call("aclnnGroupedMatmulV4", **grouped([0] * 1024 + [1], 1, 1))
    with refused("x.0.: last dimension 65536"):
        call("aclnnGroupedMatmulV4", **grouped((1, 0), 65536, 1))
    with refused("weight.0.: last dimension 65536"):
        call("aclnnGroupedMatmulV4", **grouped((1, 0), 1, 65536))
    for change in ({"groupType": -1}, {"x": [random((5, 8), FLOAT16)] * 3}):
        with refused("emulated", NOT_EMULATED):
            call("aclnnGroupedMatmulV4", **grouped(**change))
