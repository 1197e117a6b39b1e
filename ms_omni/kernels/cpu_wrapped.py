"""Operators that MindSpore's CPU build has in part: the missing cases are added, the others go to the original."""

from __future__ import annotations

from typing import Any

from mindspore import Tensor, mint

from ms_omni.kernels.cpu_arrays import promoted, to_tensor
from ms_omni.kernels.cpu_indexing import nonzero

_where, _cat = mint.where, mint.cat


def where(condition: Tensor, *branches: Any, **named: Any) -> Any:
    """where(condition) is nonzero as a tuple; where(condition, input, other) has a kernel."""
    if not branches and not named:
        return nonzero(condition, as_tuple=True)
    return _where(condition, *branches, **named)


def cat(tensors: Any, dim: int = 0) -> Tensor:
    """The kernel joins equal dtypes only: others are promoted first. Tensors of shape (0,) join with anything."""
    tensors = [tensor for tensor in tensors if tensor.shape != (0,)] or list(tensors)
    if len({tensor.dtype for tensor in tensors}) > 1:
        common = promoted([tensor.asnumpy() for tensor in tensors])
        tensors = [to_tensor(tensor.asnumpy().astype(common)) for tensor in tensors]
    return _cat(tensors, dim)


def concat(tensors: Any, dim: int = 0) -> Tensor:
    return cat(tensors, dim)
