"""Products with 8-bit weights in numpy, tile by tile, and whole layers of them."""

import threading
import tracemalloc

import numpy as np
import pytest
from numpy_layer import EXPERTS, RandomLayer
from test_numpy_blocks import LENGTHS, MAX_BLOCKS, caches, chunk, plain, prompt, step, tables

from ms_omni.kernels import numpy_int8
from ms_omni.kernels.numpy_blocks import layer_blocks
from ms_omni.kernels.numpy_int8 import Int8Matrix, rounded_rows
from ms_omni.kernels.numpy_math import joined_product, product


def matrix(out, width, rounds_rows=False, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(-127, 128, (out, width)).astype(np.int8)
    return Int8Matrix(values, rng.uniform(0.5, 2, out).astype(np.float32), rounds_rows)


def rows(count, width):
    return np.random.default_rng(5).standard_normal((count, width)).astype(np.float32)


@pytest.mark.parametrize("tile", [1, 200, numpy_int8.TILE])
@pytest.mark.parametrize("count", [1, 2, 70])
def test_a_product_is_that_of_what_the_weights_stand_for(monkeypatch, tile, count):
    monkeypatch.setattr(numpy_int8, "TILE", tile)
    weight, x = matrix(37, 50), rows(count, 50)
    expected = x.astype(np.float64) @ (weight.values * weight.scales[:, None].astype(np.float64)).T
    assert weight.shape == (50, 37)
    np.testing.assert_allclose(product(x, weight), expected, rtol=1e-5, atol=1e-2)
    out = np.empty((count, 37), np.float32)
    assert product(x, weight, out) is out
    np.testing.assert_array_equal(out, product(x, weight))
    both = joined_product(x, (weight, matrix(3, 50, seed=1)))
    np.testing.assert_array_equal(both[:, :37], out)


def test_rows_that_are_rounded_too():
    weight, x = matrix(11, 300, rounds_rows=True), rows(6, 300)
    x[2], x[3] = 0, 1e-30
    scales = np.abs(x.astype(np.float64)).max(1, keepdims=True) / 127
    scales[2] = 1
    whole = np.rint(x / scales.astype(np.float32))
    expected = (whole @ weight.values.T.astype(np.float64)) * scales * weight.scales
    np.testing.assert_allclose(product(x, weight), expected, rtol=1e-5, atol=1e-6)
    made, row_scales = rounded_rows(x)
    assert np.abs(made).max() == 127 and not made[2].any() and np.isfinite(row_scales).all()
    assert np.abs(made * row_scales - x).max() <= row_scales.max() * 0.5001


def test_no_whole_matrix_is_ever_a_float32_one(monkeypatch):
    """At first this thread's tile is made; it is kept for the next product."""
    monkeypatch.setattr(numpy_int8, "_scratch", threading.local())
    weight, x = matrix(4096, 1024), rows(3, 1024)
    for most in (4096 * 1024, 4096 * 1024 / 16):
        tracemalloc.start()
        product(x, weight)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most


@pytest.mark.parametrize("quantize", ["int8", "int8-dynamic"])
@pytest.mark.parametrize("kind", ["dense", "experts", "shared"])
def test_layers(kind, quantize):
    """A prompt, then a token, of each of several sequences."""
    layer, count = RandomLayer(kind, has_bias=True, quantize=quantize), 4
    keys, values = caches(1 + count * MAX_BLOCKS)
    blocks, table = layer_blocks(layer.stored(), layer.vectors["norm"], keys, values), tables(count, True)
    prompts = [prompt(length, seed) for seed, length in enumerate(LENGTHS[:count])]
    # A value half way between two whole numbers may be rounded to either
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if quantize == "int8" else {"rtol": 0, "atol": 5e-2}
    for x, own in zip(prompts, table, strict=True):
        if len(x) > 1:
            np.testing.assert_allclose(chunk(blocks, x[:-1], 0, own), plain(layer, x)[:-1], **tolerance)
    made = step(blocks, np.array([x[-1] for x in prompts]), [len(x) - 1 for x in prompts], table)
    expected = np.array([plain(layer, x)[-1] for x in prompts])
    np.testing.assert_allclose(made, expected, **tolerance)
    assert np.median(np.abs(made - expected)) < 1e-4


@pytest.mark.parametrize("quantize", ["int8", "int8-dynamic"])
def test_experts_of_several_ranks_add_up(quantize):
    layer = RandomLayer("experts", quantize=quantize)
    x = prompt(9, 3)
    keys, values = caches(1 + MAX_BLOCKS)

    def added(experts):
        block = layer_blocks(layer.stored(experts), layer.vectors["norm"], keys, values)[1]
        return block.work(x, None)

    halves = added(range(EXPERTS // 2)) + added(range(EXPERTS // 2, EXPERTS))
    np.testing.assert_allclose(halves, added(range(EXPERTS)), rtol=1e-4, atol=1e-5)
