"""The residual codes of frames in one kernel against the same token by token, row by row."""

from functools import partial

import numpy as np
import pytest
from numpy_layer import DIM, EPS, HIDDEN, INV_FREQ, KV_HEADS, RandomLayer, norm

from ms_omni.kernels.numpy_blocks import layer_blocks
from ms_omni.kernels.numpy_frame import ResidualCodes
from ms_omni.kernels.numpy_step import through

CODES, STEPS, MOST_ROWS = 11, 4, 4
EMPTY = -7.0
LIVE = [0, 2, 3]  # of four rows


def random(seed, *shape):
    return np.random.default_rng([9, seed]).standard_normal(shape).astype(np.float32)


LAYERS = [RandomLayer("dense", seed=seed) for seed in (1, 2)]
FINAL_NORM, HEADS, TABLES = 1 + random(0, HIDDEN) / 5, random(1, STEPS, CODES, HIDDEN), random(2, STEPS, CODES, HIDDEN)
INPUTS = dict(zip(("hidden", "first", "words"), random(3, 3, 4, HIDDEN), strict=True))


def plain(row):
    """Codes and sum of one row, the likeliest codes, in float64."""
    histories = [[] for _ in LAYERS]

    def through_all(x, place):
        for layer, history in zip(LAYERS, histories, strict=True):
            x = layer(x, place, history)
        return x

    through_all(INPUTS["hidden"][row].astype(np.float64), 0)
    x, codes = INPUTS["first"][row].astype(np.float64), []
    total = INPUTS["words"][row] + x
    for step in range(STEPS):
        state = norm(through_all(x, step + 1), FINAL_NORM)
        codes.append(int((HEADS[step] @ state).argmax()))
        x = TABLES[step][codes[-1]].astype(np.float64)
        total = total + x
    return codes, total


def whole_and_gathered():
    """A kernel that has its weights, and one that is given them as ranks gather them; their caches."""
    caches = [np.full((2, 2, 1 + MOST_ROWS, STEPS + 1, KV_HEADS, DIM), EMPTY, np.float32) for _ in "ab"]

    def blocks(number, index):
        layer = LAYERS[index]
        return layer_blocks(layer.stored(), layer.vectors["norm"], *caches[number][index])

    whole = [partial(through, [*blocks(0, 0), *blocks(0, 1)], EPS)]
    gathered = [lambda *given, parts: through(blocks(1, int(parts[0, 0])), EPS, *given)] * 2
    common = INV_FREQ, EPS, FINAL_NORM
    kernel = ResidualCodes(whole, *common, [head.T.copy() for head in HEADS], list(TABLES), False)
    return (kernel, ()), (ResidualCodes(gathered, *common, [], [], True), ([[0]], [[1]], *HEADS, *TABLES)), caches


@pytest.mark.parametrize("is_gathered", [False, True])
def test_frames_of_several_rows(is_gathered):
    *kernels, caches = whole_and_gathered()
    kernel, parts = kernels[is_gathered]
    tables = np.zeros((4, 3), np.int32)
    tables[LIVE, 0] = [5, 1, 2]
    uniform = np.tile(np.linspace(0, 0.99, STEPS + 1, dtype=np.float32)[:, None], 4)
    settings = np.ones(4, np.float32), np.ones(4, np.int32), np.ones(4, np.float32)
    given = *INPUTS.values(), tables, uniform, *settings, *map(np.array, parts)
    for _ in range(2):  # nothing of a frame is left to the next
        codes, sums = kernel(*given)
        expected = [plain(row) for row in LIVE]
        np.testing.assert_array_equal(codes[:, LIVE].T, [made for made, _ in expected])
        np.testing.assert_allclose(sums[LIVE], [total for _, total in expected], rtol=1e-4, atol=1e-4)
        assert not codes[:, 1].any() and not sums[1].any() and codes.dtype == np.int32
    written = caches[is_gathered]
    assert (written[:, :, 0] == EMPTY).all() and (written[:, :, 4:] == EMPTY).all()
    assert (written[:, :, 1:4] != EMPTY).all()


def test_each_row_has_its_own_settings_and_numbers():
    (kernel, _), _, _ = whole_and_gathered()
    tables, uniform = np.ones((4, 1), np.int32), np.random.default_rng(4).random((STEPS + 1, 4), np.float32)
    settings = np.full(4, 2, np.float32), np.array([1, 5, CODES, 1], np.int32), np.array([1, 0.9, 1, 1], np.float32)
    together, sums = kernel(*INPUTS.values(), tables, uniform, *settings)
    for row in range(4):
        of_row = slice(row, row + 1)
        arrays = [each[of_row] for each in (*INPUTS.values(), tables)]
        alone, own_sum = kernel(*arrays, uniform[:, of_row], *(each[of_row] for each in settings))
        np.testing.assert_array_equal(together[:, of_row], alone)
        np.testing.assert_allclose(sums[of_row], own_sum, rtol=1e-5, atol=1e-5)
    likeliest, _ = kernel(*INPUTS.values(), tables, uniform, settings[0], np.ones(4, np.int32), settings[2])
    assert (likeliest[:, [0, 3]] == together[:, [0, 3]]).all() and (likeliest[:, 1:3] != together[:, 1:3]).any()


def test_nobody_has_no_frame():
    (kernel, _), _, caches = whole_and_gathered()
    zeros = np.zeros((4, 1), np.int32)
    given = np.zeros((STEPS + 1, 4), np.float32), *(np.ones(4, kind) for kind in (np.float32, np.int32, np.float32))
    assert not any(made.any() for made in kernel(*INPUTS.values(), zeros, *given))
    assert (caches[0] == EMPTY).all()
