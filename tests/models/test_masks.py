"""Broadcast masks equal mindone's, made position by position."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def masking(cpu):
    from mindone.transformers import masking_utils

    return masking_utils


def one_by_one(mask_function, batch, head, query, key, bh_indices=True):
    """mask_function(batch, head, query, key) at every place, by its definition."""
    import mindspore as ms

    scalar = lambda value: ms.Tensor(np.array(value))  # noqa: E731
    places = [
        bool(mask_function(scalar(b), scalar(h), scalar(q), scalar(k)).asnumpy().all())
        for b in batch.asnumpy() for h in head.asnumpy() for q in query.asnumpy() for k in key.asnumpy()
    ]  # fmt: skip
    return np.array(places).reshape(batch.shape[0], head.shape[0], query.shape[0], key.shape[0])


@pytest.mark.parametrize("start", [0, 5])
def test_causal_sliding_and_padding(masking, start):
    import mindspore as ms

    from ms_omni.models.masks import broadcast_mask

    padding = ms.Tensor(np.array([[0, 0, 1, 1, 1, 1, 1, 1], [1] * 8], bool))
    axes = [ms.Tensor(np.arange(n)) for n in (2, 1)] + [ms.Tensor(np.arange(start, start + 3)), ms.Tensor(np.arange(8))]
    for function in (
        masking.causal_mask_function,
        masking.sliding_window_causal_mask_function(2),
        masking.and_masks(masking.causal_mask_function, masking.padding_mask_function(padding)),
    ):
        got = broadcast_mask(function, *axes)
        assert got.shape == (2, 1, 3, 8)
        np.testing.assert_array_equal(got.asnumpy(), one_by_one(function, *axes))


def test_model_uses_them(engine, masking):
    from ms_omni.models.masks import broadcast_mask

    assert masking._vmap_patch is broadcast_mask
