"""Kernels in numpy of Code2Wav and the encoders, against plain formulas: streams, tiles and threads change nothing."""

import subprocess
import sys
import threading
from math import erf, sqrt

import cpu_cases
import numpy as np
import pytest


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def plain_conv(x, weight, bias, dilation=1):
    """x: (batch, in, steps)."""
    before = (weight.shape[2] - 1) * dilation
    return cpu_cases.conv(x, weight, bias, pads=[(before, 0)], dilation=dilation)


def plain_snake(x, snake):
    return x + np.sin(x * snake.frequency) ** 2 * snake.magnitude


def snake_of(channels, seed):
    from ms_omni.kernels.numpy_conv import Snake

    return Snake(normal(channels, seed=seed) / 4, normal(channels, seed=seed + 1) / 4, 1e-9)


@pytest.mark.parametrize(("out", "dilation"), [(5, 1), (5, 3), (1, 1), (1, 2)])
def test_causal_convolution_of_streams_in_pieces(out, dilation):
    """One output from nine inputs is a product before its rows are moved, five are a product of columns. Of two streams
    side by side the second begins later, and has pieces of other lengths."""
    from ms_omni.kernels.numpy_conv import CausalConv

    x, weight, bias = normal(2, 9, 41), normal(out, 9, 7, seed=1), normal(out, seed=2)
    snake, conv = snake_of(9, 3), CausalConv(weight, bias, dilation)
    tails, pieces, done = [conv.new_state(), conv.new_state()], [[], []], [0, 0]
    for lengths in ((3, 0), (37, 1), (1, 40)):
        parts = [row[:, at : at + length] for row, at, length in zip(x, done, lengths, strict=True)]
        made = conv(np.concatenate(parts, axis=1), lengths, tails, snake)
        for row, part in enumerate((made[:, : lengths[0]], made[:, lengths[0] :])):
            pieces[row].append(part)
            done[row] += lengths[row]
    expected = plain_conv(plain_snake(x, snake), weight, bias, dilation)
    for row in range(2):
        np.testing.assert_allclose(np.concatenate(pieces[row], axis=1), expected[row], atol=1e-4)


def test_snake_is_what_it_says():
    from ms_omni.kernels.numpy_conv import Snake

    alpha, beta, x = normal(3), normal(3, seed=1), normal(3, 8, seed=2)
    expected = x + np.sin(x * np.exp(alpha)[:, None]) ** 2 / (np.exp(beta)[:, None] + 0.5)
    np.testing.assert_allclose(Snake(alpha, beta, 0.5)(x), expected, rtol=1e-5, atol=1e-6)


def block_and_reference(rate=3, channels=6, out=4):
    """A block with three units and a head, and the same by direct convolutions of the whole input."""
    from ms_omni.kernels.numpy_conv import CausalConv, ResidualUnit, Upsampling
    from ms_omni.kernels.numpy_decoder_block import DecoderBlock

    snake = snake_of(channels, 10)
    weight, bias = normal(channels, out, 2 * rate, seed=11), normal(out, seed=12)
    units = [
        ResidualUnit(
            snake_of(out, 20 + d),
            CausalConv(normal(out, out, 7, seed=30 + d) / 6, normal(out, seed=40 + d), d),
            snake_of(out, 50 + d),
            CausalConv(normal(out, out, 1, seed=60 + d) / 3, normal(out, seed=70 + d)),
        )
        for d in (1, 3, 9)
    ]
    head = (snake_of(out, 80), CausalConv(normal(1, out, 7, seed=81), normal(1, seed=82)))

    def reference(x):
        x = plain_snake(x, snake)[:, :, None]
        x = cpu_cases.conv_back(x, weight[:, :, None], bias, (1, rate))[:, :, 0, rate:-rate]
        for unit in units:
            inner = plain_conv(
                plain_snake(x, unit.snake1), unit.conv1.weight, unit.conv1.bias[:, 0], unit.conv1.dilation
            )
            inner = plain_snake(inner, unit.snake2)
            x = x + plain_conv(inner, unit.conv2.weight, unit.conv2.bias[:, 0])
        return plain_conv(plain_snake(x, head[0]), head[1].weight, head[1].bias[:, 0])

    return DecoderBlock(Upsampling(snake, weight, bias, rate), units, head), reference


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("inputs_a_tile", [7, 1000])
def test_block_in_pieces_tiles_and_threads(monkeypatch, threads, inputs_a_tile):
    from ms_omni.kernels import host_threads, numpy_decoder_block

    monkeypatch.setattr(host_threads, "num_threads", lambda: threads)
    monkeypatch.setattr(numpy_decoder_block, "LEAST_STEPS_A_THREAD", 12)
    block, reference = block_and_reference()
    block.inputs_a_tile = inputs_a_tile
    x = normal(3, 6, 150, seed=90)
    expected, states = reference(x), [block.new_state() for _ in x]
    # One ends early, and another begins while they are under way
    taken = ({0: 1}, {0: 8, 1: 9}, {1: 91, 2: 20, 0: 5}, {2: 130, 0: 136}, {1: 50})
    pieces, done = [[] for _ in x], [0, 0, 0]
    for lengths in taken:
        given = [x[row, :, done[row] : done[row] + length] for row, length in lengths.items()]
        made, counts = block(np.concatenate(given, axis=1), [*lengths.values()], [states[row] for row in lengths])
        assert counts == [3 * (length - (not done[row])) for row, length in lengths.items()]
        for row, part in zip(lengths, np.split(made, np.cumsum(counts)[:-1], axis=1), strict=True):
            pieces[row].append(part)
            done[row] += lengths[row]
    assert done == [150, 150, 150]
    for row in range(3):
        np.testing.assert_allclose(np.concatenate(pieces[row], axis=1), expected[row], atol=2e-3, rtol=1e-4)


def test_other_kernels_of_an_upsampling_are_refused():
    from ms_omni.kernels.numpy_conv import Upsampling

    with pytest.raises(ValueError, match="a kernel of 5 for a rate of 3: expected 6"):
        Upsampling(snake_of(2, 0), normal(2, 2, 5), normal(2), 3)


@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
def test_strided_convolution(size):
    from ms_omni.kernels.numpy_conv import strided_conv2d

    x, weight, bias = normal(4, *size), normal(5, 4, 3, 3, seed=1), normal(5, seed=2)
    expected = cpu_cases.conv(x[None], weight, bias, stride=2, pads=1)[0]
    np.testing.assert_allclose(strided_conv2d(x, weight, bias), expected, atol=1e-4)


def test_gelu(monkeypatch):
    from ms_omni.kernels import numpy_activations

    monkeypatch.setattr(numpy_activations, "BLOCK_VALUES", 1000)
    x = np.linspace(-12, 12, 4803, dtype=np.float32).reshape(3, -1)
    exact = np.array([v * (1 + erf(v / sqrt(2))) / 2 for v in x.ravel().tolist()]).reshape(x.shape)
    out = x.copy()
    numpy_activations.gelu(out)
    np.testing.assert_allclose(out, exact, atol=1e-6)
    wide = x.astype(np.float64)
    out = x.copy()
    numpy_activations.gelu_tanh(out)
    by_tanh = wide / 2 * (1 + np.tanh(sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
    np.testing.assert_allclose(out, by_tanh, atol=1e-6)
    with pytest.raises(ValueError, match="contiguous"):
        numpy_activations.gelu(x[:, ::2])


@pytest.mark.parametrize("has_opencv", [True, False])
def test_exp(monkeypatch, has_opencv):
    import sys

    from ms_omni.kernels import numpy_activations

    if not has_opencv:
        monkeypatch.setitem(sys.modules, "cv2", None)  # as on a machine without libGL
    numpy_activations._fast_exp.cache_clear()
    x = np.concatenate([np.linspace(-87, 88, 4999), [-200, 0]]).astype(np.float32).reshape(3, 1667)
    out = x.copy()
    numpy_activations.exp(out)
    numpy_activations._fast_exp.cache_clear()
    np.testing.assert_allclose(out, np.exp(x.astype(np.float64)), rtol=2e-6, atol=1e-38)


@pytest.mark.parametrize("largest", [1e3, 0.0])
@pytest.mark.parametrize("separate", [False, True])
def test_encoder_layer(monkeypatch, separate, largest):
    """Segments of 5, 5 and 70 rows, a few rows, keys and heads at a time, against one row after the other; scores that
    need no maximum, and others."""
    from types import SimpleNamespace

    from ms_omni.kernels import host_threads, numpy_attention, numpy_encoder
    from ms_omni.kernels.numpy_activations import gelu

    hidden, heads, lengths = 16, 4, [5, 5, 70]
    dim, rows = hidden // heads, sum(lengths)
    for name, value in (("QUERIES_AT_ONCE", 9), ("KEYS_AT_ONCE", 16), ("LARGEST_SCORE", largest)):
        monkeypatch.setattr(numpy_attention, name, value)
    for name, value in (("LEAST_ROWS", 1), ("LEAST_A_THREAD", 1), ("ROWS_AT_ONCE", 13)):
        monkeypatch.setattr(host_threads, name, value)
    monkeypatch.setattr(numpy_encoder, "float32_array", lambda array: array)

    def linear(width, out, seed):
        return SimpleNamespace(weight=normal(out, width, seed=seed) / sqrt(width), bias=normal(out, seed=seed + 1))

    norms = [SimpleNamespace(weight=normal(hidden, seed=s), bias=normal(hidden, seed=s + 1), eps=1e-6) for s in (2, 4)]
    qkv, proj, widen, narrow = (
        linear(hidden, 48, 6),
        linear(hidden, hidden, 8),
        linear(hidden, 40, 10),
        linear(40, hidden, 12),
    )
    thirds = [SimpleNamespace(weight=qkv.weight[i : i + 16], bias=qkv.bias[i : i + 16]) for i in (0, 16, 32)]
    angles = np.tile(normal(rows, dim // 2, seed=14), 2)
    layer = numpy_encoder.EncoderLayer(
        [numpy_encoder.LayerNorm(norm) for norm in norms],
        [numpy_encoder.Linear(cell) for cell in (thirds if separate else [qkv])],
        numpy_encoder.Linear(proj),
        (numpy_encoder.Linear(widen), gelu, numpy_encoder.Linear(narrow)),
        heads,
        0.3,
    )
    x = normal(rows, hidden, seed=15)
    out = x.copy()
    layer(out, lengths, (np.cos(angles), np.sin(angles)))

    def apply(cell, values):
        return values @ cell.weight.T + cell.bias

    def norm(cell, values):
        return cpu_cases.norm(values, 1, cell.weight, cell.bias, cell.eps)

    def rotated(values):
        swapped = np.concatenate([-values[..., dim // 2 :], values[..., : dim // 2]], axis=-1)
        return values * np.cos(angles)[:, None] + swapped * np.sin(angles)[:, None]

    q, k, v = apply(qkv, norm(norms[0], x)).reshape(rows, 3, heads, dim).swapaxes(0, 1)
    q, k, attended, start = rotated(q), rotated(k), np.zeros((rows, heads, dim)), 0
    for length in lengths:
        here = slice(start, start + length)
        scores = np.exp(np.einsum("ihd,jhd->hij", q[here], k[here]) * 0.3)
        attended[here] = np.einsum("hij,jhd->ihd", scores / scores.sum(-1, keepdims=True), v[here])
        start += length
    expected = x + apply(proj, attended.reshape(rows, hidden))
    inner = apply(widen, norm(norms[1], expected))
    gelu(inner)
    np.testing.assert_allclose(out, expected + apply(narrow, inner), atol=2e-5)


def test_threads_compute_in_order_and_give_back_what_they_took():
    from ms_omni.kernels import host_threads

    x = normal(64, 64)
    products = host_threads.in_parallel(lambda power: np.linalg.matrix_power(x, power), range(4))
    for power, product in enumerate(products):
        np.testing.assert_allclose(product, np.linalg.matrix_power(x, power), rtol=1e-4)

    def fail(part):
        if part == 2:
            raise ValueError("part 2")

    with pytest.raises(ValueError, match="part 2"):
        host_threads.in_parallel(fail, range(4))
    assert host_threads.in_parallel(abs, [-1]) == [1]


def test_a_thread_does_its_own_parts_and_little_work_has_none():
    from ms_omni.kernels import host_threads

    def thread(part):
        return threading.get_ident(), host_threads.num_threads()

    if host_threads.num_threads() > 1:
        made = host_threads.in_parallel(thread, range(4))
        assert threading.get_ident() not in {ident for ident, _ in made} and {count for _, count in made} == {1}
    little = host_threads.in_parallel(thread, range(4), host_threads.LEAST_A_THREAD)
    assert {ident for ident, _ in little} == {threading.get_ident()}


@pytest.mark.parametrize("names", ["ms_omni, numpy", "numpy, ms_omni"])
def test_blas_does_not_spin_when_it_has_nothing_to_do(monkeypatch, names):
    """Its threads' time after a product, in a process of its own: OpenBLAS would take 20 ms of another core."""
    monkeypatch.delenv("OPENBLAS_THREAD_TIMEOUT", raising=False)  # this process has set it
    code = f"""
import {names}, time, numpy as np
x = np.ones((1500, 1500), np.float32)
x @ x
start = time.process_time()
time.sleep(0.1)
print(time.process_time() - start)
"""
    seconds = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)]
    assert min(seconds) < 0.005


def test_shares_are_whole_and_not_too_small(monkeypatch):
    from ms_omni.kernels import host_threads

    monkeypatch.setattr(host_threads, "num_threads", lambda: 3)
    assert host_threads.thread_parts(10, 3) == [(0, 3), (3, 6), (6, 10)]
    assert host_threads.thread_parts(5, 3) == [(0, 5)] and host_threads.thread_parts(0, 3) == [(0, 0)]


def test_an_unknown_activation_is_named():
    from ms_omni.errors import OmniError
    from ms_omni.kernels.numpy_encoder import activation

    with pytest.raises(OmniError, match="activation 'relu' is not known on a CPU: gelu, gelu_pytorch_tanh"):
        activation("relu")
