"""Draws follow their weights, differ from each other, and repeat with the seed."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _on_cpu(cpu):
    pass


def draws(seed, weights, count):
    import mindspore as ms
    from mindspore import mint

    ms.manual_seed(seed)
    tensor = ms.Tensor(np.array([weights], np.float32))
    return [int(mint.multinomial(tensor, 1).asnumpy()[0, 0]) for _ in range(count)]


def test_successive_draws_are_independent_and_follow_the_weights():
    weights = [0.1, 0.2, 0.7]
    got = np.array(draws(0, weights, 1500))
    shares = np.bincount(got, minlength=3) / len(got)
    np.testing.assert_allclose(shares, weights, atol=0.05)
    # independent of the draw before: the share of 2 after a 2 is that of 2 at all
    after_two = got[1:][got[:-1] == 2]
    assert abs((after_two == 2).mean() - 0.7) < 0.06


def test_seed_repeats():
    uniform = [1 / 8] * 8
    assert draws(1, uniform, 12) == draws(1, uniform, 12) != draws(2, uniform, 12)
