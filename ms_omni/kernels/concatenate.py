"""Concatenation that launches nothing for a single tensor."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, mint


def concatenated(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """mint.cat of the parts, or the only one itself."""
    return parts[0] if len(parts) == 1 else mint.cat(list(parts), dim=dim)
