"""Heads: by operators and in numpy the same logits, and one memory for the weight."""

import numpy as np
import pytest

from ms_omni.parallel.world import World

WORDS, HIDDEN = 7, 4
WHOLE = np.random.default_rng(1).standard_normal((WORDS, HIDDEN)).astype(np.float32)
X = np.random.default_rng(2).standard_normal((3, HIDDEN)).astype(np.float32)


def weight(dtype="float32"):
    import mindspore as ms

    return ms.Parameter(ms.Tensor(WHOLE).astype(getattr(ms, dtype)), name="head")


@pytest.mark.parametrize("in_numpy", [False, True])
def test_logits(cpu, in_numpy):
    import mindspore as ms

    from ms_omni.runtime.head import Head

    head = Head(weight(), weight(), World(), WORDS, in_numpy)
    np.testing.assert_allclose(head(ms.Tensor(X)).asnumpy(), X @ WHOLE.T, rtol=1e-5, atol=1e-6)


def test_a_weight_is_in_memory_once(cpu):
    from ms_omni.runtime.head import Head

    parameter = weight()
    head = Head(parameter, weight(), World(), WORDS, True)
    assert head.array.flags.c_contiguous and parameter.shape == (HIDDEN, WORDS)
    assert np.shares_memory(parameter.asnumpy(), head.array)
    np.testing.assert_array_equal(head.array, WHOLE.T)


def test_a_weight_that_is_the_table_as_well_stays_as_it_is(cpu):
    from ms_omni.runtime.head import Head

    parameter = weight()
    head = Head(parameter, parameter, World(), WORDS, True)
    assert parameter.shape == (WORDS, HIDDEN) and np.shares_memory(parameter.asnumpy(), head.array)
    np.testing.assert_array_equal(head.array, WHOLE.T)


def test_in_numpy_other_dtypes_are_float32(cpu):
    import mindspore as ms

    from ms_omni.runtime.head import transposed_weight

    parameter = weight("bfloat16")
    expected = parameter.float().asnumpy().T
    made = transposed_weight(parameter)
    assert made.dtype == np.float32 and parameter.dtype == ms.float32
    np.testing.assert_array_equal(made, expected)
    assert np.shares_memory(parameter.asnumpy(), made)
