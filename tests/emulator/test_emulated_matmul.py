"""Emulated products of matrices against sums in float64, and their limits."""

import numpy as np
import pytest
from ascend_emulator.cube import to_hf32
from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32, DeviceTensor
from emulated_calls import HALVES, assert_near, call, empty, exact, random, refused, tensor

ALL = [*HALVES, FLOAT32]


def by_sums(left, right):
    """numpy's einsum has no matmul's promotion of vectors: they get an axis here."""
    one, two = (left[None] if left.ndim == 1 else left), (right[:, None] if right.ndim == 1 else right)
    product = (one[..., :, :, None] * two[..., None, :, :]).sum(-2)
    if right.ndim == 1:
        product = product[..., 0]
    return product[..., 0, :] if left.ndim == 1 and right.ndim > 1 else product[..., 0] if left.ndim == 1 else product


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize(
    "left, right",
    [
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((5, 7), (7, 2)),
        ((2, 5, 7), (7, 3)),
        ((2, 1, 4, 3), (5, 3, 2)),
        ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),
    ],
)
def test_matmul(dtype, left, right):
    one, two = random(left, dtype, 1), random(right, dtype, 2)
    wanted = by_sums(exact(one), exact(two))
    out = empty(wanted.shape, dtype)
    call("aclnnMatmul", self=one, mat2=two, out=out)
    assert_near(out, wanted, 1.1, 2e-5)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("rows, inner, width", [(1, 1, 1), (1, 129, 5), (6, 33, 3)])
def test_products_of_matrices_with_transposed_weights(dtype, rows, inner, width):
    x, w = random((rows, inner), dtype, 1), random((width, inner), dtype, 2)
    turned = DeviceTensor("mat2", w.array.T)
    wanted = np.array([[sum(a * b for a, b in zip(i, j, strict=True)) for j in exact(w)] for i in exact(x)])
    out = empty((rows, width), dtype)
    call("aclnnMm", self=x, mat2=turned, out=out)
    assert_near(out, wanted, 1.1, 5e-5)
    term, made = random((width,), dtype, 3), empty((rows, width), dtype)
    call("aclnnAddmm", self=term, mat1=x, mat2=turned, beta=2, alpha=np.float32(0.5), out=made)
    assert_near(made, 0.5 * wanted + 2 * exact(term), 1.1, 5e-5)
    made = random((rows, width), dtype, 4)
    before = exact(made)
    call("aclnnInplaceAddmm", selfRef=made, mat1=x, mat2=turned, beta=1, alpha=1)
    assert_near(made, before + wanted, 1.1, 5e-5)


@pytest.mark.parametrize("dtype", ALL)
def test_products_of_batches(dtype):
    one, two, out = random((3, 2, 5), dtype, 1), random((3, 5, 4), dtype, 2), empty((3, 2, 4), dtype)
    wanted = np.stack([by_sums(a, b) for a, b in zip(exact(one), exact(two), strict=True)])
    call("aclnnBatchMatMul", self=one, mat2=two, out=out)
    assert_near(out, wanted, 1.1, 2e-5)
    term = random((3, 2, 4), dtype, 3)
    call("aclnnBaddbmm", self=term, batch1=one, batch2=two, beta=1, alpha=-1, out=out)
    assert_near(out, exact(term) - wanted, 1.1, 2e-5)
    before = exact(term)
    call("aclnnInplaceBaddbmm", selfRef=term, batch1=one, batch2=two, beta=1, alpha=1)
    assert_near(term, before + wanted, 1.1, 2e-5)


def test_beta_0_leaves_the_term_out():
    term, out = tensor(np.full(2, np.nan), FLOAT16), empty((1, 2), FLOAT16)
    call("aclnnAddmm", self=term, mat1=random((1, 3), FLOAT16), mat2=random((3, 2), FLOAT16), beta=0, alpha=1, out=out)
    assert np.all(np.isfinite(exact(out)))


def test_float16_with_float32_is_computed_in_float32():
    one, two, out = random((2, 3), FLOAT16, 1), random((3, 2), FLOAT32, 2), empty((2, 2), FLOAT32)
    call("aclnnMm", self=one, mat2=two, out=out)
    assert_near(out, by_sums(exact(one), exact(two)), 1.1, 1e-6)


def test_the_sum_is_not_rounded_on_its_way():
    """2048 + 1 is 2048 in float16; 1024 ones after it must all count."""
    x = tensor(np.r_[2048.0, np.ones(1024)][None], FLOAT16)
    out = empty((1, 1), FLOAT16)
    call("aclnnMm", self=x, mat2=tensor(np.ones((1025, 1)), FLOAT16), out=out)
    assert out.array.item() == 3072


@pytest.mark.parametrize("number, wanted", [(0, 1 + 2.0**-12), (1, 1.0), (3, 1.0), (2, 1.0)])
def test_what_the_matrix_unit_takes_of_float32(number, wanted):
    out = empty((1, 1), FLOAT32)
    call("aclnnMm", self=tensor([[1 + 2.0**-12]], FLOAT32), mat2=tensor([[1]], FLOAT32), out=out, cubeMathType=number)
    assert out.array.item() == wanted


def test_hf32_rounds_to_even_and_keeps_what_is_not_finite():
    step = 2.0**-11
    given = np.array([1 + step / 2, 1 + 1.5 * step, -(1 + 0.51 * step), 0.0, np.inf, np.nan, 3e38], np.float32)
    made = to_hf32(given)
    assert np.array_equal(made[:5], np.array([1, 1 + 2 * step, -(1 + step), 0, np.inf], np.float32))
    assert np.isnan(made[5]) and abs(made[6] / 3e38 - 1) < 2.0**-12


def matrices(**change):
    given = {"self": random((2, 3), FLOAT16, name="self"), "mat2": random((3, 4), FLOAT16, name="mat2")}
    return given | {"out": empty((2, 4), FLOAT16)} | change


@pytest.mark.parametrize(
    "change, message",
    [
        ({"self": random((2, 3), np.float64, name="self")}, "self: dtype float64"),
        ({"self": random((2, 3), BFLOAT16, name="self")}, "bfloat16 is not promoted"),
        ({"self": random((1, 2, 3), FLOAT16, name="self")}, "self: shape .1, 2, 3., allowed: 2 dimensions"),
        ({"mat2": random((4, 3), FLOAT16, name="mat2")}, "inner sizes 3, 4 differ"),
        ({"mat2": random((3, 4, 1), FLOAT16, name="mat2")}, "mat2: shape .3, 4, 1., allowed: 2 dimensions"),
        ({"out": empty((4, 2), FLOAT16)}, "out: shape"),
        ({"out": empty((2, 4), FLOAT32)}, "out: dtype float32, allowed: float16"),
        ({"cubeMathType": 4}, "cubeMathType: 4"),
        ({"cubeMathType": 3}, "USE_HF32. is not allowed for float16"),
        ({"mat2": DeviceTensor("mat2", np.zeros((3, 4), FLOAT16), "FRACTAL_NZ")}, "mat2: format FRACTAL_NZ"),
    ],
)
def test_limits_of_mm(change, message):
    with refused(message):
        call("aclnnMm", **matrices(**change))


def test_limits_of_the_others():
    half = {"self": random((2, 3), BFLOAT16), "mat2": random((3, 4), BFLOAT16), "out": empty((2, 4), BFLOAT16)}
    with refused("USE_FP16. is not allowed for bfloat16"):
        call("aclnnMatmul", **half, cubeMathType=2)
    call("aclnnMatmul", **(half | {"out": empty((2, 4), FLOAT32)}))
    with refused("the batches do not broadcast"):
        call(
            "aclnnMatmul", self=random((2, 2, 3), FLOAT16), mat2=random((3, 3, 4), FLOAT16), out=empty((2, 4), FLOAT16)
        )
    with refused("allowed: 1 to 6 dimensions"):
        call("aclnnMatmul", self=random((1,) * 7, FLOAT16), mat2=random((1, 1), FLOAT16), out=empty((1,), FLOAT16))
    with refused("m: shape .., allowed: 1 to 6 dimensions"):
        call("aclnnMatmul", **matrices(mat2=random((), FLOAT16, name="m")))
    with refused("mat2: format FRACTAL_NZ"):
        call("aclnnMatmul", **matrices(mat2=DeviceTensor("mat2", np.zeros((3, 4), FLOAT16), "FRACTAL_NZ")))
    with refused("out: dtype int32"):
        call("aclnnMatmul", **matrices(out=empty((2, 4), np.int32)))
    with refused("allowed: 3 dimensions"):
        call("aclnnBatchMatMul", **matrices())
    with refused("mat2: shape .3, 4., allowed: 3 dimensions"):
        call("aclnnBatchMatMul", **matrices(self=random((1, 2, 3), FLOAT16)))
    added = {"mat1": random((2, 3), FLOAT16), "mat2": random((3, 4), FLOAT16), "beta": 1, "alpha": 1}
    for change, message in (
        ({"self": random((), FLOAT16, name="x")}, "x: shape .., allowed: 1 to 2 dimensions"),
        ({"mat1": random((1, 2, 3), FLOAT16, name="m")}, "m: shape .1, 2, 3., allowed: 2 dimensions"),
        ({"mat1": random((2, 2), FLOAT16)}, "inner sizes 2, 3 differ"),
        ({"mat2": DeviceTensor("m", np.zeros((3, 4), FLOAT16), "FRACTAL_NZ")}, "m: format FRACTAL_NZ"),
        ({"out": empty((2, 4), FLOAT32)}, "out: dtype float32, allowed: float16"),
        ({"out": empty((4,), FLOAT16)}, "out: shape"),
    ):
        with refused(message):
            call("aclnnAddmm", **({"self": random((4,), FLOAT16), "out": empty((2, 4), FLOAT16)} | added | change))
    with refused("does not broadcast to that of the product"):
        call("aclnnAddmm", self=random((3,), FLOAT16), **added, out=empty((2, 4), FLOAT16))
    with refused("does not broadcast"):
        call("aclnnAddmm", self=random((1, 2, 4), FLOAT16), **added, out=empty((2, 4), FLOAT16))
    batches = {
        "batch1": random((2, 2, 3), FLOAT16),
        "batch2": random((1, 3, 4), FLOAT16, name="b"),
        "beta": 1,
        "alpha": 1,
    }
    with refused("b: batch 1, expected 2"):
        call("aclnnBaddbmm", self=random((4,), FLOAT16), **batches, out=empty((2, 2, 4), FLOAT16))
    batches["batch1"] = random((1, 2, 3), FLOAT16)
    with refused("x: shape .., allowed: 1 to 3 dimensions"):
        call("aclnnBaddbmm", self=random((), FLOAT16, name="x"), **batches, out=empty((1, 2, 4), FLOAT16))
