"""skip_init: parameters of the right shape and type, without drawing values; MindSpore is as before afterwards."""

import numpy as np
import pytest

from ms_omni.checkpoint.lazy_init import skip_init

pytestmark = pytest.mark.usefixtures("cpu")


def draws(monkeypatch):
    """Counts how often MindSpore fills an array by an initializer."""
    from mindspore.common.initializer import Initializer

    calls = []
    original = Initializer.__call__
    monkeypatch.setattr(Initializer, "__call__", lambda self, array: (calls.append(array.shape), original(self, array)))
    return calls


def test_draws_nothing(monkeypatch):
    from mindspore import mint

    calls = draws(monkeypatch)
    with skip_init():
        layer = mint.nn.Linear(300, 200)
        table = mint.nn.Embedding(50, 40)
    assert calls == []
    assert layer.weight.shape == (200, 300)
    assert table.weight.shape == (50, 40)
    mint.nn.Linear(3, 2)
    assert (2, 3) in calls


def test_type_of_floats_can_be_chosen():
    import mindspore as ms
    from mindspore import mint
    from mindspore.common.initializer import initializer

    with skip_init(ms.bfloat16):
        layer = mint.nn.Linear(3, 2)
        counter = ms.Parameter(initializer("zeros", (4,), ms.int32))
    assert layer.weight.dtype == ms.bfloat16
    assert counter.dtype == ms.int32


def test_tensors_keep_their_values():
    import mindspore as ms

    with skip_init():
        parameter = ms.Parameter(ms.Tensor(np.arange(3, dtype=np.float32)))
    np.testing.assert_array_equal(parameter.asnumpy(), [0, 1, 2])


def test_parameters_can_be_set_and_computed_with():
    import mindspore as ms
    from mindspore import mint

    with skip_init():
        layer = mint.nn.Linear(3, 2, bias=False)
    layer.weight.set_data(ms.Tensor(np.ones((2, 3), np.float32)))
    np.testing.assert_allclose(layer(ms.Tensor([[1.0, 2.0, 3.0]], ms.float32)).asnumpy(), [[6.0, 6.0]])


def test_undone_after_an_error():
    import mindspore as ms
    from mindspore.common.initializer import initializer

    with pytest.raises(RuntimeError), skip_init():
        raise RuntimeError
    assert ms.Parameter(initializer("ones", (4,), ms.float32)).asnumpy().sum() == 4
