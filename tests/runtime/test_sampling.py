"""Picking tokens: the distribution that transformers' warpers describe, drawn by numbers from the host."""

import numpy as np
import pytest

LOGITS = np.array([[2.0, 1.0, 0.0, -1.0, 3.0, 0.5]], np.float32)


def warped(temperature, top_k, top_p):
    """The distribution by definition, in numpy."""
    scores = LOGITS[0].astype(np.float64) / temperature
    order = np.argsort(-scores)
    kept = order[: top_k or len(order)]
    chances = np.exp(scores[kept] - scores[kept].max())
    chances /= chances.sum()
    before = np.cumsum(chances) - chances
    chances = np.where(before < top_p, chances, 0)
    out = np.zeros(len(scores))
    out[kept] = chances / chances.sum()
    return out


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("warp", [(1.0, 0, 1.0), (0.7, 3, 1.0), (1.3, 0, 0.8), (1.0, 4, 0.6), (1.0, 50, 1e-6)])
def test_evenly_spread_numbers_give_the_distribution(cpu, warp, compiled):
    """Inverting the cumulative distribution at the middles of 400 equal steps: every share within a step."""
    import mindspore as ms

    from ms_omni.runtime.sampling import pick

    def draw(logits, uniform):
        return pick(logits, uniform, *warp)

    run = ms.jit(draw, jit_level="O0") if compiled else draw
    steps = 400 if not compiled else 60
    numbers = (np.arange(steps) + 0.5) / steps
    got = [int(run(ms.Tensor(LOGITS), ms.Tensor(u, ms.float32)).asnumpy()[0]) for u in numbers]
    shares = np.bincount(got, minlength=LOGITS.shape[1]) / steps
    np.testing.assert_allclose(shares, warped(*warp), atol=1.5 / steps)


def test_greedy_takes_the_largest_whatever_the_number(cpu):
    import mindspore as ms

    from ms_omni.runtime.sampling import pick

    for uniform in (0.0, 0.999999):
        assert int(pick(ms.Tensor(LOGITS), ms.Tensor(uniform, ms.float32), 0.0, 5, 0.5).asnumpy()[0]) == 4


def test_repetition_penalty_as_transformers(cpu):
    import mindspore as ms

    from ms_omni.runtime.sampling import penalize_repeated

    seen = ms.Tensor(np.array([[1, 0, 1, 1, 0, 0]], np.float32))
    got = penalize_repeated(ms.Tensor(LOGITS), seen, 1.25).asnumpy()[0]
    np.testing.assert_allclose(got, [1.6, 1.0, 0.0, -1.25, 3.0, 0.5], rtol=1e-6)


def test_streams_repeat_with_the_seed_and_differ_by_stage():
    from ms_omni.runtime.sampling import UniformStream

    def numbers(seed, stage, shapes):
        stream = UniformStream(seed, stage)
        return np.concatenate([stream.draw(*shape).asnumpy().reshape(-1) for shape in shapes])

    # however many a graph takes in one call
    np.testing.assert_array_equal(numbers(3, 0, [(1,), (4,), (4,)]), numbers(3, 0, [(9,)]))
    assert (numbers(3, 0, [(9,)]) != numbers(3, 1, [(9,)])).all()
    assert (numbers(None, 0, [(9,)]) != numbers(None, 0, [(9,)])).all()
    spread = numbers(5, 0, [(4000,)])
    assert 0 <= spread.min() and spread.max() < 1 and abs(spread.mean() - 0.5) < 0.02
