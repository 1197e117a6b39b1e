"""Emulated operators of 8-bit weights against loops over whole numbers in float64, and their limits."""

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32, INT8, INT32, INT64, UINT64, DeviceTensor
from ascend_emulator.refusal import NOT_EMULATED, TILING_ERROR
from emulated_calls import HALVES, assert_near, call, check, empty, exact, random, refused, tensor

ROWS, INNER, WIDTH, EXPERTS = 5, 16, 6, 3


def whole(*shape, seed=0, name="weight"):
    return tensor(np.random.default_rng([seed, *shape]).integers(-127, 128, shape), INT8, name)


def scales(*shape, dtype=FLOAT32, seed=0, name="scale"):
    return tensor(np.random.default_rng([seed, *shape]).uniform(0.5, 1, shape) / 127, dtype, name)


def as_stored_transposed(given):
    """The same values, laid down with the last two axes exchanged."""
    return tensor(np.ascontiguousarray(given.array.swapaxes(-1, -2)).swapaxes(-1, -2), name=given.name)


def nz(given, form="FRACTAL_NZ"):
    return DeviceTensor(given.name, given.array, form, 0, given.size)


# ---- DynamicQuant ----------------------------------------------------------------------------------------------------
def rounding(dtype=BFLOAT16, shape=(ROWS, INNER), **change):
    given = {"x": random(shape, dtype, 1), "yOut": empty(shape, INT8, "yOut")}
    return given | {"scaleOut": empty(shape[:-1], FLOAT32, "scaleOut")} | change


def half_even(number):
    below = np.floor(number)
    is_up = number - below > 0.5 or (number - below == 0.5 and below % 2)
    return int(below) + int(is_up)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(1, 3), (ROWS, INNER), (2, 3, 4), (0, 4)])
@pytest.mark.parametrize("is_smooth", [False, True])
def test_rows_are_rounded_by_their_largest_value(dtype, shape, is_smooth):
    given = rounding(dtype, shape)
    smooth = random(shape[-1:], dtype, 2)
    call("aclnnDynamicQuant", **(given | ({"smoothScalesOptional": smooth} if is_smooth else {})))
    x = exact(given["x"]) * (exact(smooth) if is_smooth else 1)
    made, scale = given["yOut"].array.reshape(-1, shape[-1]), given["scaleOut"].array.reshape(-1)
    for i, row in enumerate(x.reshape(-1, shape[-1])):
        assert scale[i] == pytest.approx(max(abs(value) for value in row) / 127, rel=1e-6)
        assert max(abs(int(value)) for value in made[i]) == 127
        np.testing.assert_allclose(made[i] * scale[i], row, atol=scale[i] * 0.501)


def test_what_lies_between_two_goes_to_the_even_one():
    values = [127.0, 0.5, 1.5, -2.5, -0.5, 3.5, 0.25, -126.5]
    given = rounding(FLOAT16, (1, 8), x=tensor([values], FLOAT16))
    call("aclnnDynamicQuant", **given)
    assert given["yOut"].array[0].tolist() == [half_even(value) for value in values]


def test_a_row_of_zeros_stays_zero():
    given = rounding(x=tensor(np.zeros((ROWS, INNER)), BFLOAT16))
    call("aclnnDynamicQuant", **given)
    assert not given["yOut"].array.any() and not given["scaleOut"].array.any()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": random((ROWS, INNER), FLOAT32, name="x")}, "x: dtype float32, allowed: float16, bfloat16"),
        ({"x": random((INNER,), BFLOAT16, name="x")}, "x: shape .*allowed: 2 to 8 dimensions"),
        ({"smoothScalesOptional": random((INNER,), FLOAT16, name="s")}, "s: dtype float16, expected that of x"),
        ({"smoothScalesOptional": random((INNER - 1,), BFLOAT16, name="s")}, "s: shape"),
        ({"yOut": empty((ROWS, INNER), INT32, "y")}, "y: dtype int32, allowed: int8"),
        ({"yOut": empty((ROWS, INNER - 1), INT8, "y")}, "y: shape"),
        ({"scaleOut": empty((ROWS,), BFLOAT16, "s")}, "s: dtype bfloat16, allowed: float32"),
        ({"scaleOut": empty((ROWS, 1), FLOAT32, "s")}, "s: shape"),
    ],
)
def test_limits_of_rounding(change, message):
    with refused(message):
        check("aclnnDynamicQuant", **rounding(**change))


# ---- WeightQuantBatchMatmulV2 ----------------------------------------------------------------------------------------
def antiquant(dtype=BFLOAT16, **change):
    given = {"x": random((ROWS, INNER), dtype, 1), "weight": whole(INNER, WIDTH)}
    given |= {"antiquantScale": scales(WIDTH, dtype=dtype, name="antiquantScale")}
    return given | {"y": empty((ROWS, WIDTH), dtype, "y")} | change


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(WIDTH,), (1, WIDTH), (1,), (1, 1)])
@pytest.mark.parametrize("has_more", [False, True])
def test_products_with_int8_weights(dtype, shape, has_more):
    given = antiquant(dtype, antiquantScale=scales(*shape, dtype=dtype))
    given["weight"] = as_stored_transposed(given["weight"])
    offset, bias = scales(*shape, dtype=dtype, seed=1), random((1, WIDTH), FLOAT32 if dtype == BFLOAT16 else FLOAT16)
    call(
        "aclnnWeightQuantBatchMatmulV2",
        **(given | ({"antiquantOffsetOptional": offset, "biasOptional": bias} if has_more else {})),
    )
    x, weight, scale = (
        exact(given["x"]),
        exact(given["weight"]),
        np.broadcast_to(exact(given["antiquantScale"]), (1, WIDTH)),
    )
    shift = np.broadcast_to(exact(offset) if has_more else 0, (1, WIDTH))
    wanted = np.array(
        [
            [sum(x[i, k] * (weight[k, n] + shift[0, n]) * scale[0, n] for k in range(INNER)) for n in range(WIDTH)]
            for i in range(ROWS)
        ]
    )
    assert_near(given["y"], wanted + (exact(bias) if has_more else 0), 1.05, 1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": random((ROWS, INNER), FLOAT32, name="x")}, "x: dtype float32"),
        ({"x": random((1, ROWS, INNER), BFLOAT16, name="x")}, "x: shape .*allowed: 2 dimensions"),
        ({"x": random((ROWS, INNER - 1), BFLOAT16)}, "weight: K 16, expected that of x, 15"),
        ({"x": tensor(np.ones((ROWS, 2 * INNER), BFLOAT16)[:, ::2], name="x")}, "x: neither contiguous nor transposed"),
        ({"x": random((0, INNER), BFLOAT16)}, "m: 0, allowed with x not transposed"),
        ({"weight": random((INNER, WIDTH), BFLOAT16, name="w")}, "w: dtype bfloat16, allowed: int8"),
        ({"weight": tensor(np.ones((INNER, 2 * WIDTH), INT8)[:, ::2], name="w")}, "w: neither contiguous"),
        ({"antiquantScale": scales(WIDTH, name="s")}, "s: dtype float32, expected that of x, bfloat16"),
        (
            {"antiquantScale": scales(INNER, dtype=BFLOAT16, name="s")},
            "s: shape .16,., allowed: .1,., .1, 1., .6,., .1, 6.",
        ),
        ({"antiquantOffsetOptional": scales(WIDTH, dtype=FLOAT16, name="o")}, "o: dtype float16"),
        ({"antiquantOffsetOptional": scales(1, dtype=BFLOAT16, name="o")}, "o: shape"),
        ({"biasOptional": random((WIDTH,), BFLOAT16, name="b")}, "b: dtype bfloat16, allowed: float32"),
        ({"biasOptional": random((ROWS, WIDTH), FLOAT32, name="b")}, "b: shape"),
        ({"biasOptional": tensor(np.ones(2 * WIDTH, np.float32)[::2], name="b")}, "b: not contiguous"),
        ({"x": nz(random((ROWS, INNER), BFLOAT16, name="x"))}, "x: format FRACTAL_NZ, allowed: ND"),
        ({"weight": nz(whole(INNER, WIDTH, name="w"), "FRACTAL_Z")}, "w: format FRACTAL_Z, allowed: ND"),
        ({"y": empty((ROWS, WIDTH), FLOAT16, "y")}, "y: dtype float16"),
        ({"y": empty((ROWS, WIDTH + 1), BFLOAT16, "y")}, "y: shape"),
        ({"y": tensor(np.ones((WIDTH, ROWS), BFLOAT16).T, name="y")}, "y: not contiguous"),
    ],
)
def test_limits_of_products_with_int8_weights(change, message):
    with refused(message):
        check("aclnnWeightQuantBatchMatmulV2", **antiquant(**change))


def test_sizes_of_products_with_int8_weights():
    long, wide = np.zeros((1, 65536), BFLOAT16), np.zeros((65536, 1), INT8)
    with refused("k: 65536, allowed: 1 to 65535"):
        check("aclnnWeightQuantBatchMatmulV2", **antiquant(x=tensor(long), weight=tensor(wide)))
    with refused("n: 65536, allowed"):
        check("aclnnWeightQuantBatchMatmulV2", **antiquant(x=tensor(long[:, :1]), weight=tensor(wide.T)))
    with refused("m: 65536, allowed with x transposed: 1 to 65535"):
        x = tensor(np.zeros((2, 65536), BFLOAT16).T)
        check("aclnnWeightQuantBatchMatmulV2", **antiquant(x=x, weight=tensor(np.zeros((2, 1), INT8))))


@pytest.mark.parametrize(
    "change",
    [
        {"weight": nz(whole(INNER, WIDTH))},
        {"weight": tensor(np.ones((INNER, WIDTH)), INT32)},
        {"antiquantScale": tensor(np.ones(WIDTH), UINT64)},
        {"quantScaleOptional": tensor(np.ones(WIDTH), UINT64)},
        {"antiquantGroupSize": 32},
    ],
)
def test_forms_of_int8_weights_that_are_not_emulated(change):
    with refused("emulated", NOT_EMULATED):
        check("aclnnWeightQuantBatchMatmulV2", **antiquant(**change))


# ---- QuantMatmulV4 ---------------------------------------------------------------------------------------------------
def both_int8(made=BFLOAT16, **change):
    given = {"x1": whole(ROWS, INNER, seed=1, name="x1"), "x2": whole(INNER, WIDTH, name="x2")}
    given |= {"scale": scales(WIDTH, dtype=BFLOAT16 if made == BFLOAT16 else FLOAT32)}
    given |= {"pertokenScaleOptional": scales(ROWS, seed=3, name="tokens")}
    return given | {"transposeX1": False, "transposeX2": False, "out": empty((ROWS, WIDTH), made)} | change


@pytest.mark.parametrize("out", HALVES)
@pytest.mark.parametrize("transposes", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize("bias_dtype", [None, INT32, FLOAT32])
def test_products_of_int8(out, transposes, is_wide, bias_dtype):
    """is_wide: one scale for each column, or one for all."""
    given = both_int8(out)
    given["scale"] = scales(WIDTH if is_wide else 1, dtype=given["scale"].dtype)
    left, right = exact(given["x1"]), exact(given["x2"])
    for name, is_transposed in zip(("x1", "x2"), transposes, strict=True):
        if is_transposed:
            given[name] = tensor(np.ascontiguousarray(given[name].array.T))
    given |= {"transposeX1": transposes[0], "transposeX2": transposes[1]}
    bias = None if bias_dtype is None else tensor(np.arange(WIDTH) * 100 - 250, bias_dtype)
    call("aclnnQuantMatmulV4", **given, bias=bias)
    sums = np.array(
        [[sum(int(a) * int(b) for a, b in zip(row, column, strict=True)) for column in right.T] for row in left], float
    )
    sums = sums + exact(bias) if bias_dtype == INT32 else sums
    wanted = sums * exact(given["scale"]) * exact(given["pertokenScaleOptional"])[:, None]
    assert_near(given["out"], wanted + exact(bias) if bias_dtype == FLOAT32 else wanted, 1.05, 1e-5)


def test_sums_of_int8_are_exact():
    """Of more than 24 bits: 2047 * 127 * 127 + 2 is odd, which float32 does not hold."""
    x1, x2 = np.full((1, 2048), 127, INT8), np.full((2048, 1), 127, INT8)
    x1[0, -1], x2[-1, 0] = 2, 1
    out = empty((1, 1), INT32)
    call(
        "aclnnQuantMatmulV4",
        **both_int8(INT32, x1=tensor(x1), x2=tensor(x2), scale=scales(1), out=out, pertokenScaleOptional=None),
    )
    assert out.array[0, 0] == 2047 * 127 * 127 + 2


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x1": random((ROWS, INNER), BFLOAT16, name="x1")}, "x1: dtype bfloat16, allowed: int8"),
        ({"x2": random((INNER, WIDTH), FLOAT16, name="x2")}, "x2: dtype float16, allowed: int8"),
        ({"x1": whole(INNER, name="x1")}, "x1: shape .*allowed: 2 to 6 dimensions"),
        ({"x1": whole(0, INNER, name="x1")}, "x1: shape .*an empty tensor is not allowed"),
        ({"x1": whole(ROWS, 65536, name="x1")}, "x1: last axis 65536, at most 65535"),
        ({"x2": tensor(np.ones((INNER, 2 * WIDTH), INT8)[:, ::2], name="x2")}, "x2: neither contiguous"),
        ({"x2": nz(whole(INNER, WIDTH, name="x2"), "FRACTAL_Z")}, "x2: format FRACTAL_Z, allowed: ND"),
        ({"x1": whole(ROWS, INNER - 1)}, "x2: K 16, expected that of x1, 15"),
        ({"transposeX2": True}, "x2: K 6, expected that of x1, 16"),
        ({"scale": scales(WIDTH, dtype=FLOAT16, name="s")}, "s: dtype float16, allowed: float32, bfloat16"),
        ({"scale": scales(1, WIDTH, name="s")}, "s: shape .1, 6., allowed: .1,., .6,."),
        ({"offset": scales(WIDTH)}, "offset: given, allowed only with out int8, out is bfloat16"),
        ({"pertokenScaleOptional": scales(ROWS, dtype=BFLOAT16, name="t")}, "t: dtype bfloat16, allowed: float32"),
        ({"pertokenScaleOptional": scales(ROWS, 1, name="t")}, "t: shape"),
        ({"bias": random((WIDTH,), FLOAT16, name="b")}, "b: dtype float16, allowed: int32, bfloat16, float32"),
        ({"bias": random((ROWS,), FLOAT32, name="b")}, "b: shape"),
        ({"out": empty((ROWS, WIDTH), FLOAT32, "o")}, "o: dtype float32"),
        ({"out": empty((ROWS, WIDTH + 1), BFLOAT16, "o")}, "o: shape"),
    ],
)
def test_limits_of_products_of_int8(change, message):
    with refused(message):
        check("aclnnQuantMatmulV4", **both_int8(**change))


@pytest.mark.parametrize(
    "out, change, message",
    [
        (FLOAT16, {"scale": scales(WIDTH, dtype=BFLOAT16, name="s")}, "s: dtype bfloat16, allowed: float32"),
        (FLOAT16, {"pertokenScaleOptional": None}, "pertokenScaleOptional: must be given with out float16"),
        (
            FLOAT16,
            {"bias": random((WIDTH,), BFLOAT16, name="b")},
            "b: dtype bfloat16, allowed: int32, float16, float32",
        ),
        (INT32, {}, "pertokenScaleOptional: must be a null pointer with out int32"),
        (INT32, {"pertokenScaleOptional": None, "bias": random((WIDTH,), FLOAT32, name="b")}, "b: dtype float32"),
    ],
)
def test_dtypes_go_with_the_output(out, change, message):
    with refused(message):
        check("aclnnQuantMatmulV4", **both_int8(out, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"x2": nz(whole(INNER, WIDTH))},
        {"x1": tensor(np.ones((ROWS, INNER)), INT32)},
        {"x1": whole(2, ROWS, INNER)},
        {"scale": tensor(np.ones(WIDTH), INT64)},
        {"out": empty((ROWS, WIDTH), INT8)},
    ],
)
def test_forms_of_int8_products_that_are_not_emulated(change):
    with refused("emulated", NOT_EMULATED):
        check("aclnnQuantMatmulV4", **both_int8(**change))


# ---- GroupedMatmulV4 -------------------------------------------------------------------------------------------------
COUNTS = (2, 0, 3)


def grouped(x, made, **change):
    given = {"x": [x], "weight": [whole(EXPERTS, INNER, WIDTH, name="weight[0]")], "out": [empty((ROWS, WIDTH), made)]}
    return given | {"groupListOptional": tensor(COUNTS, INT64), "splitItem": 3, "groupListType": 1} | change


def int8_weights(dtype=BFLOAT16, **change):
    per_column = [
        scales(EXPERTS, WIDTH, dtype=dtype, seed=seed, name=name) for seed, name in ((1, "scale"), (2, "offset"))
    ]
    given = {"antiquantScaleOptional": per_column[:1], "antiquantOffsetOptional": per_column[1:]}
    return grouped(random((ROWS, INNER), dtype, 1), dtype) | given | change


def all_int8(made=BFLOAT16, **change):
    given = {"perTokenScaleOptional": [scales(ROWS, seed=3, name="tokens")]}
    scale = scales(EXPERTS, WIDTH, dtype=BFLOAT16 if made == BFLOAT16 else FLOAT32, seed=4)
    return grouped(whole(ROWS, INNER, seed=1, name="x[0]"), made) | given | {"scaleOptional": [scale]} | change


EXPERT_OF = [expert for expert, count in enumerate(COUNTS) for _ in range(count)]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_grouped_products_with_int8_weights(dtype, is_transposed, has_bias):
    given = int8_weights(dtype)
    if is_transposed:
        given["weight"] = [as_stored_transposed(given["weight"][0])]
    bias = random((EXPERTS, WIDTH), FLOAT32 if dtype == BFLOAT16 else FLOAT16, 5)
    call("aclnnGroupedMatmulV4", **(given | ({"biasOptional": [bias]} if has_bias else {})))
    x, weight, scale, offset = (
        exact(given[name][0]) for name in ("x", "weight", "antiquantScaleOptional", "antiquantOffsetOptional")
    )
    wanted = np.zeros((ROWS, WIDTH))
    for i, e in enumerate(EXPERT_OF):
        for n in range(WIDTH):
            wanted[i, n] = sum(x[i, k] * (weight[e, k, n] + offset[e, n]) * scale[e, n] for k in range(INNER))
        wanted[i] += exact(bias)[e] if has_bias else 0
    assert_near(given["out"][0], wanted, 1.05, 1e-5)


@pytest.mark.parametrize("out", [*HALVES, INT32])
@pytest.mark.parametrize("has_tokens", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_grouped_products_of_int8(out, has_tokens, has_bias):
    given = all_int8(out)
    if not has_tokens or out == INT32:
        given["perTokenScaleOptional"] = []
    if out == INT32:
        given["scaleOptional"] = []
    bias = tensor(np.arange(EXPERTS * WIDTH).reshape(EXPERTS, WIDTH) * 50 - 300, INT32)
    call("aclnnGroupedMatmulV4", **given, biasOptional=[bias] if has_bias else [])
    x, weight = exact(given["x"][0]), exact(given["weight"][0])
    wanted = np.zeros((ROWS, WIDTH))
    for i, e in enumerate(EXPERT_OF):
        for n in range(WIDTH):
            wanted[i, n] = sum(int(x[i, k]) * int(weight[e, k, n]) for k in range(INNER)) + has_bias * bias.array[e, n]
        wanted[i] *= exact(given["scaleOptional"][0])[e] if given["scaleOptional"] else 1
        wanted[i] *= exact(given["perTokenScaleOptional"][0])[i] if given["perTokenScaleOptional"] else 1
    if out == INT32:
        np.testing.assert_array_equal(given["out"][0].array, wanted)
    else:
        assert_near(given["out"][0], wanted, 1.05, 1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": [random((ROWS, INNER), FLOAT32, name="x")]}, "x: dtype float32, allowed: float16, bfloat16"),
        ({"out": [empty((ROWS, WIDTH), FLOAT16, "o")]}, "o: dtype float16, expected that of"),
        ({"antiquantScaleOptional": []}, "antiquantScaleOptional: must be given with int8 weight"),
        ({"antiquantOffsetOptional": []}, "antiquantOffsetOptional: must be given with int8 weight"),
        ({"antiquantScaleOptional": [scales(EXPERTS, WIDTH, name="s")]}, "s: dtype float32, allowed: bfloat16"),
        ({"antiquantScaleOptional": [scales(WIDTH, dtype=BFLOAT16, name="s")]}, "s: shape"),
        ({"antiquantOffsetOptional": [scales(EXPERTS, WIDTH, dtype=FLOAT16, name="o")]}, "o: dtype float16"),
        ({"antiquantOffsetOptional": [scales(EXPERTS, 1, dtype=BFLOAT16, name="o")]}, "o: shape"),
        ({"antiquantScaleOptional": [scales(EXPERTS, WIDTH, dtype=BFLOAT16)] * 2}, "2 tensors, expected as many"),
        ({"biasOptional": [random((EXPERTS, WIDTH), BFLOAT16, name="b")]}, "b: dtype bfloat16, allowed: float32"),
        ({"scaleOptional": [scales(EXPERTS, WIDTH)]}, "scaleOptional: given, allowed only with x int8"),
        ({"perTokenScaleOptional": [scales(ROWS)]}, "perTokenScaleOptional: given, allowed only with x int8"),
        ({"actType": 1}, "actType: 1, allowed but with scales of tokens: 0"),
    ],
)
def test_limits_of_grouped_products_with_int8_weights(change, message):
    with refused(message):
        check("aclnnGroupedMatmulV4", **int8_weights(**change))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weight": [random((EXPERTS, INNER, WIDTH), BFLOAT16, name="w")]}, "w: dtype bfloat16, allowed: int8"),
        ({"out": [empty((ROWS, WIDTH), FLOAT32, "o")]}, "o: dtype float32, allowed: float16, bfloat16, int32"),
        ({"out": [empty((ROWS, WIDTH), FLOAT16, "o")]}, "scale: dtype bfloat16, allowed: float32"),
        ({"out": [empty((ROWS, WIDTH), INT32, "o")]}, "scaleOptional: given, must be null pointers with out int32"),
        (
            {"out": [empty((ROWS, WIDTH), INT32, "o")], "scaleOptional": []},
            "perTokenScaleOptional: given, must be null pointers with out int32",
        ),
        ({"scaleOptional": []}, "scaleOptional: must be given with x int8 and out bfloat16"),
        ({"scaleOptional": [scales(EXPERTS, WIDTH, name="s")]}, "s: dtype float32, allowed: bfloat16"),
        ({"scaleOptional": [scales(EXPERTS, 1, dtype=BFLOAT16, name="s")]}, "s: shape"),
        ({"perTokenScaleOptional": [scales(ROWS, dtype=BFLOAT16, name="t")]}, "t: dtype bfloat16, allowed: float32"),
        ({"perTokenScaleOptional": [scales(ROWS, 1, name="t")]}, "t: shape"),
        ({"perTokenScaleOptional": [scales(ROWS)] * 2}, "perTokenScaleOptional: 2 tensors"),
        ({"offsetOptional": [scales(EXPERTS, WIDTH)]}, "offsetOptional: given, allowed only with int4 weight"),
        ({"antiquantScaleOptional": [scales(EXPERTS, WIDTH)]}, "antiquantScaleOptional: given, allowed only with x of"),
        ({"biasOptional": [random((EXPERTS, WIDTH), FLOAT32, name="b")]}, "b: dtype float32, allowed: int32"),
    ],
)
def test_limits_of_grouped_products_of_int8(change, message):
    with refused(message):
        check("aclnnGroupedMatmulV4", **all_int8(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"out": [empty((ROWS, WIDTH), INT8)]},
        {"scaleOptional": [tensor(np.ones((EXPERTS, WIDTH)), UINT64)]},
        {"actType": 1},
    ],
)
def test_forms_of_grouped_int8_products_that_are_not_emulated(change):
    with refused("emulated", NOT_EMULATED):
        check("aclnnGroupedMatmulV4", **all_int8(**change))


# ---- MoeInitRoutingQuantV2 -------------------------------------------------------------------------------------------
CHOSEN = [[2, 0], [1, 2], [0, 2], [2, 1]]


def routing(**change):
    given = {"x": random((4, INNER), BFLOAT16, 1), "expertIdx": tensor(CHOSEN, INT32, "expertIdx"), "expertNum": 4}
    given |= {"expertTokensCountOrCumsumFlag": 2, "quantMode": 1, "expandedXOut": empty((8, INNER), INT8, "rows")}
    given |= {
        "expandedRowIdxOut": empty((8,), INT32, "places"),
        "dynamicQuantScaleOutOptional": empty((8,), FLOAT32, "s"),
    }
    return given | {"expertTokensCountOrCumsumOutOptional": empty((4,), INT32, "counts")} | change


@pytest.mark.parametrize("dtype", [*HALVES, FLOAT32])
@pytest.mark.parametrize("flag, counts", [(1, [2, 4, 8, 8]), (2, [2, 2, 4, 0])])
def test_routing_of_rounded_rows(dtype, flag, counts):
    given = routing(x=random((4, INNER), dtype, 1), expertTokensCountOrCumsumFlag=flag)
    call("aclnnMoeInitRoutingQuantV2", **given)
    x, made, scale = exact(given["x"]), given["expandedXOut"].array, given["dynamicQuantScaleOutOptional"].array
    in_order = [
        (token, place)
        for expert in range(4)
        for token, row in enumerate(CHOSEN)
        for place in range(2)
        if row[place] == expert
    ]
    for i, (token, place) in enumerate(in_order):
        assert given["expandedRowIdxOut"].array[2 * token + place] == i
        assert scale[i] == pytest.approx(np.abs(x[token]).max() / 127, rel=1e-6)
        np.testing.assert_allclose(made[i] * scale[i], x[token], atol=scale[i] * 0.501)
    assert given["expertTokensCountOrCumsumOutOptional"].array.tolist() == counts


@pytest.mark.parametrize(
    "change, message, status",
    [
        ({"quantMode": 2}, "quantMode: 2, allowed: 0, 1", TILING_ERROR),
        ({"x": tensor(np.ones((4, INNER)), INT32, "x")}, "x: dtype int32", None),
        ({"expertIdx": tensor(CHOSEN, INT64, "e")}, "e: dtype int64", None),
        ({"expertIdx": tensor(CHOSEN[:3], INT32, "e")}, "3 rows, expected those of x, 4", TILING_ERROR),
        ({"expertIdx": tensor([[4, 0]] * 4, INT32)}, "values from 0 to 4, allowed: 0 to 3", None),
        ({"activeNum": -1}, "activeNum: -1", TILING_ERROR),
        ({"expertNum": 0}, "expertNum: 0, although experts are counted", TILING_ERROR),
        ({"dropPadMode": 2}, "dropPadMode: 2", TILING_ERROR),
        ({"expandedXOut": empty((8, INNER), BFLOAT16, "rows")}, "rows: dtype bfloat16, allowed: int8", None),
        ({"expandedXOut": empty((7, INNER), INT8, "rows")}, "rows: shape", None),
        ({"expandedRowIdxOut": empty((8,), INT64, "places")}, "places: dtype int64", None),
        ({"expertTokensCountOrCumsumOutOptional": None}, "a null pointer, although its flag is set", None),
        ({"dynamicQuantScaleOutOptional": None}, "a null pointer, although quantMode is 1", None),
        ({"dynamicQuantScaleOutOptional": empty((8,), FLOAT16, "s")}, "s: dtype float16, allowed: float32", None),
        ({"dynamicQuantScaleOutOptional": empty((8, 1), FLOAT32, "s")}, "s: shape", None),
        ({"dynamicQuantScaleOutOptional": tensor(np.ones(16, np.float32)[::2], name="s")}, "s: not contiguous", None),
    ],
)
def test_limits_of_routing_rounded_rows(change, message, status):
    with refused(message, status) if status else refused(message):
        call("aclnnMoeInitRoutingQuantV2", **routing(**change))


@pytest.mark.parametrize(
    "change", [{"quantMode": 0}, {"scaleOptional": scales(1, INNER)}, {"offsetOptional": scales(1)}]
)
def test_forms_of_routing_that_are_not_emulated(change):
    with refused("emulated", NOT_EMULATED):
        check("aclnnMoeInitRoutingQuantV2", **routing(**change))
