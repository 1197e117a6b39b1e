"""Picking tokens on the emulated card: rows with settings of their own against numpy, in graphs and outside."""

import numpy as np
import pytest

GREEDY, WHOLE = (0.0, 0, 1.0), (1.0, 0, 1.0)
SETTINGS = [
    GREEDY, (0.9, 50, 1.0), (1.0, 50, 0.8), (0.7, 1, 0.5), (1.3, 128, 0.95), (0.0, 40, 0.5), (1.0, 5, 1e-6),
    (2.0, 3, 1.0),
]  # fmt: skip
WITH_WHOLE = [*SETTINGS[:6], WHOLE, (0.7, 0, 0.8), (1.1, 400, 0.9)]


@pytest.fixture(scope="module")
def operators():
    from ms_omni.kernels import setup_device
    from ms_omni.kernels.decoder_ops import decoder_ops

    return decoder_ops(setup_device("Ascend"))


def reference(logits, uniform, temperature, top_k, top_p):
    """One row, in float64. The token, and how far `uniform` is from where it would be another one."""
    order = np.argsort(-logits, kind="stable")
    if not temperature:
        return order[0], 1.0
    scores = logits[order[: top_k or len(order)]].astype(np.float64) / temperature
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    kept = chances[np.cumsum(chances) - chances < top_p]
    reached = np.cumsum(kept)
    edges = [np.abs(reached / reached[-1] - uniform).min()]
    if top_p < 1:
        edges.append(np.abs(np.cumsum(chances) - top_p).min())
    return order[np.searchsorted(reached, uniform * reached[-1])], min(edges)


def picked(operators, logits, rows, uniforms, how):
    """What the sampler picks for each of `uniforms`, (calls, rows), and the launches of the last call."""
    import mindspore as ms
    from ascend_emulator import trace

    from ms_omni.runtime.sampling import Sampling, SamplingTensors

    settings = SamplingTensors.of([Sampling(*row) for row in rows], logits.shape[1], operators)
    sampler = operators.Sampler(len(rows), logits.shape[1], settings.num_kept, "test")

    def pick(*inputs):
        return sampler(*inputs)

    run = ms.jit(pick, **operators.JIT_OPTIONS) if how == "graph" else pick
    made = []
    for uniform in uniforms:
        inputs = ms.Tensor(logits), ms.Tensor(uniform), *settings.tensors
        ms.runtime.synchronize()
        trace.reset()
        tokens = run(*inputs)
        ms.runtime.synchronize()
        launches = trace.launches()
        assert tokens.dtype == ms.int32 and tokens.shape == (len(rows),)
        made.append(tokens.asnumpy())
    return made, launches


@pytest.mark.parametrize("how", ["graph", "outside"])
@pytest.mark.parametrize("rows", [SETTINGS, WITH_WHOLE, [GREEDY] * 3, SETTINGS[1:2]], ids=len)
def test_rows_pick_as_by_definition(operators, rows, how):
    """Numbers at which rounding could decide are left out; they are few."""
    rng = np.random.default_rng(len(rows))
    logits = (rng.standard_normal((len(rows), 1500)) * 4).astype(np.float32)
    uniforms = rng.random((20, len(rows)), np.float32)
    made, launches = picked(operators, logits, rows, uniforms, how)
    compared = 0
    for tokens, uniform in zip(made, uniforms, strict=True):
        for i, row in enumerate(rows):
            expected, clearance = reference(logits[i], uniform[i], *row)
            if clearance > 1e-6:
                assert tokens[i] == expected, (row, uniform[i])
                compared += 1
    assert compared > 0.95 * len(uniforms) * len(rows)
    assert sum(launches.values()) <= 15, launches
    assert all(name.split()[0] in ("aclnn", "internal") for name in launches), launches


@pytest.mark.parametrize("rows", [SETTINGS, WITH_WHOLE], ids=len)
def test_numbers_at_the_ends(operators, rows):
    """0 picks the likeliest, the largest number below 1 the last one that is kept, and none with a probability of 0."""
    logits = np.full((len(rows), 300), -40, np.float32)
    logits[:, 7:10] = (1, 3, 2)
    largest = np.nextafter(np.float32(1), np.float32(0))
    uniforms = np.array([[0.0] * len(rows), [largest] * len(rows)], np.float32)
    made, _ = picked(operators, logits, rows, uniforms, "graph")
    np.testing.assert_array_equal(made[0], 8)
    for token, (temperature, top_k, top_p) in zip(made[1], rows, strict=True):
        is_one = not temperature or top_k == 1 or top_p < 0.6
        assert token == (8 if is_one else 9 if top_p <= 0.8 else 7), (temperature, top_k, top_p)


def test_equal_logits(operators):
    """In the whole vocabulary the first ones come first, whatever was greedy takes the first."""
    uniforms = ((np.arange(40)[:, None] + 0.5) / 40 * np.ones(2)).astype(np.float32)
    made, _ = picked(operators, np.zeros((2, 8), np.float32), [GREEDY, WHOLE], uniforms, "graph")
    np.testing.assert_array_equal(np.array(made)[:, 0], 0)
    np.testing.assert_array_equal(np.array(made)[:, 1], np.repeat(np.arange(8), 5))
