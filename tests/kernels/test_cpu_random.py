"""Sampling on the CPU: seeded by MindSpore's generator, by weight. Nonsense and ids out of range are refused."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def seeded(cpu):
    import mindspore as ms

    ms.manual_seed(1)


def drawn(**options):
    from mindspore import mint

    return mint.multinomial(mint.ones((1000,)), 20, **options).asnumpy()


def test_the_seed_decides_and_calls_differ():
    import mindspore as ms

    first, second = drawn(), drawn()
    ms.manual_seed(1)
    np.testing.assert_array_equal(drawn(), first)
    assert not np.array_equal(first, second)
    ms.manual_seed(2)
    assert not np.array_equal(drawn(), first)


def test_an_own_generator_leaves_the_default_one_alone():
    import mindspore as ms

    own = ms.Generator()
    own.manual_seed(5)
    drawn(generator=own)
    after_own = drawn()
    ms.manual_seed(1)
    np.testing.assert_array_equal(drawn(), after_own)


def test_what_nobody_has_seeded_differs():
    """From MindSpore 2.8 on its generator begins with 0 in every process."""
    import mindspore as ms
    from mindspore.common.generator import default_generator

    def draw():
        default_generator.set_state(ms.Tensor(np.zeros(16, np.uint8)))
        default_generator._generator.add_prim_attr("manual_seed", False)
        return drawn().tolist()

    assert draw() != draw()
    ms.manual_seed(0)
    asked = drawn().tolist()
    ms.manual_seed(0)
    assert drawn().tolist() == asked


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_draws_by_weight(replacement):
    from mindspore import Tensor, mint

    weights = Tensor(np.array([1, 0, 3], np.float32)).expand((4000, 3))
    drawn = mint.multinomial(weights, 1, replacement=replacement).asnumpy()
    assert drawn.shape == (4000, 1) and drawn.dtype == np.int64
    assert np.bincount(drawn[:, 0], minlength=3)[1] == 0
    assert abs((drawn == 2).mean() - 0.75) < 0.03  # 4 standard deviations


def test_multinomial_without_replacement_repeats_nothing():
    from mindspore import mint

    drawn = mint.multinomial(mint.ones((50, 6)), 6).asnumpy()
    np.testing.assert_array_equal(np.sort(drawn, -1), np.tile(np.arange(6), (50, 1)))


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [1.0, np.nan]])
def test_multinomial_refuses_weights_that_are_none(weights):
    from mindspore import Tensor, mint

    with pytest.raises(ValueError, match="weights must be"):
        mint.multinomial(Tensor(np.array(weights, np.float32)), 1)


def test_multinomial_refuses_more_samples_than_categories():
    from mindspore import Tensor, mint

    with pytest.raises(ValueError, match="2 samples without replacement"):
        mint.multinomial(Tensor(np.array([0, 1], np.float32)), 2)


def test_out_of_range_ids_are_told():
    from mindspore import Tensor, mint

    with pytest.raises(IndexError):
        mint.nn.functional.embedding(Tensor([5]), mint.zeros((5, 2)))
    with pytest.raises(ValueError, match="classes must be in 0..2, got 3..3"):
        mint.nn.functional.one_hot(Tensor([3]), 3)
