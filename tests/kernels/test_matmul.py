"""Matrix products by oneDNN: every layout, parts for threads, and what it cannot read."""

from __future__ import annotations

import numpy as np
import pytest

from ms_omni.kernels import host_threads
from ms_omni.kernels import matmul as module
from ms_omni.kernels.matmul import matmul, matmul_each


def _matrix(rng, rows, columns, is_turned):
    made = rng.standard_normal((columns, rows) if is_turned else (rows, columns)).astype(np.float32)
    return made.T if is_turned else made


@pytest.fixture
def counted(monkeypatch):
    """Counts the calls of oneDNN."""
    sgemm = module._sgemm()
    if sgemm is None:
        pytest.skip("oneDNN has kernels for x86 processors only")
    calls = []

    def count(*arguments):
        calls.append(arguments[2:5])
        return sgemm(*arguments)

    monkeypatch.setattr(module, "_sgemm", lambda: count)
    return calls


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize(
    "shape", [(1, 5, 7), (4, 512, 512), (300, 77, 5), (5, 1, 3), (3, 4, 1), (1, 1, 1), (17, 300, 200)]
)
def test_layouts(counted, shape, left, right):
    """Stored or turned, into the middle of a wider array, of which nothing else is written."""
    m, k, n = shape
    rng = np.random.default_rng(0)
    x, weight = _matrix(rng, m, k, left), _matrix(rng, k, n, right)
    wide = np.full((m, n + 5), 9, np.float32)
    out = matmul(x, weight, wide[:, 2 : n + 2])
    assert counted == [(m, n, k)]
    np.testing.assert_allclose(out, x.astype(np.float64) @ weight, atol=1e-4)
    assert (wide[:, :2] == 9).all() and (wide[:, n + 2 :] == 9).all()
    np.testing.assert_array_equal(matmul(x, weight), out)


@pytest.mark.parametrize("shape", [(700, 64, 1000), (9, 512, 8195), (5000, 90, 33)])
def test_parts_of_the_longer_side(counted, monkeypatch, shape):
    m, k, n = shape
    monkeypatch.setattr(host_threads, "num_threads", lambda: 3)
    rng = np.random.default_rng(0)
    for left in (False, True):
        x, weight = _matrix(rng, m, k, left), _matrix(rng, k, n, not left)
        counted.clear()
        np.testing.assert_allclose(matmul(x, weight), x.astype(np.float64) @ weight, atol=1e-3)
        assert len(counted) == 3
        whole = {rows for rows, _, _ in counted} == {m} or {columns for _, columns, _ in counted} == {n}
        assert whole and sum(rows * columns for rows, columns, _ in counted) == m * n


def test_what_onednn_does_not_read(counted):
    """Every second value of a row, halves, nothing: numpy's product."""
    rng = np.random.default_rng(0)
    spread, weight = rng.standard_normal((4, 12)).astype(np.float32)[:, ::2], rng.standard_normal((6, 5))
    weight = weight.astype(np.float32)
    np.testing.assert_allclose(matmul(spread, weight), spread @ weight, rtol=1e-5)
    half = weight.astype(np.float16)
    np.testing.assert_allclose(matmul(weight.T.copy(), half), weight.T @ half, rtol=1e-5)
    assert matmul(np.zeros((0, 6), np.float32), weight).shape == (0, 5)
    assert not matmul(np.zeros((3, 0), np.float32), weight[:0]).any()
    assert not counted


def test_without_onednn(monkeypatch):
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    module._sgemm.cache_clear()
    try:
        assert module._sgemm() is None
        x = np.arange(12, dtype=np.float32).reshape(3, 4)
        np.testing.assert_array_equal(matmul(x, x.T), x @ x.T)
    finally:
        monkeypatch.undo()
        module._sgemm.cache_clear()


@pytest.mark.parametrize("least", [1, 1 << 30])
def test_each_of_several(counted, monkeypatch, least):
    monkeypatch.setattr(module, "LEAST_EACH", least)
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((3, 20, 6), np.float32), rng.standard_normal((3, 9, 6), np.float32).swapaxes(1, 2)
    made = np.empty((3, 20, 9), np.float32)
    np.testing.assert_allclose(matmul_each(x, weight, made), np.einsum("bij,bjk->bik", x, weight), atol=1e-5)
    assert len(counted) == (3 if least == 1 else 0)
