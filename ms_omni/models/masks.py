"""mindone 0.5.0's attention masks, made by broadcasting instead of position by position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mindspore import Tensor


def broadcast_mask(
    mask_function: Callable[..., Tensor],
    batch: Any,
    head: Any,
    query: Tensor,
    key: Tensor,
    bh_indices: bool = True,
) -> Tensor:
    """bool, (batch, heads, queries, keys), or (queries, keys) without `bh_indices`: where `mask_function` of mindone's
    masking_utils, given the index of each axis, lets a query see a key."""
    if not bh_indices:
        mask = mask_function(batch, head, query[:, None], key[None])
        return mask.broadcast_to((query.shape[0], key.shape[0]))
    shape = (batch.shape[0], head.shape[0], query.shape[0], key.shape[0])
    mask = mask_function(
        batch.reshape(-1, 1, 1, 1), head.reshape(1, -1, 1, 1), query.reshape(1, 1, -1, 1), key.reshape(1, 1, 1, -1)
    )
    return mask.broadcast_to(shape)


def use_broadcast_masks() -> None:
    """Puts `broadcast_mask` in the place of mindone's `_vmap_patch`, which fetches every key position from the device
    and runs some operators for each: with eager attention, 600 times a token for a prompt of 600."""
    from mindone.transformers import masking_utils

    masking_utils._vmap_patch = broadcast_mask
