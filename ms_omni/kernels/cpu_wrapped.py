"""Operators that MindSpore's CPU build has in part: the missing cases are added, the others go to the original."""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Tensor, mint

from ms_omni.kernels.cpu_arrays import promoted, to_tensor, writable
from ms_omni.kernels.cpu_indexing import nonzero

_where = mint.where


def where(condition: Tensor, *branches: Any, **named: Any) -> Any:
    """where(condition) is nonzero as a tuple; where(condition, input, other) has a kernel."""
    if not branches and not named:
        return nonzero(condition, as_tuple=True)
    return _where(condition, *branches, **named)


def cat(tensors: Any, dim: int = 0) -> Tensor:
    """The kernel joins equal dtypes only; here others are promoted. Tensors of shape (0,) join with anything."""
    # the parts are often transposed views (keys and values): reading them in place saves a kernel's copy
    arrays = [tensor.asnumpy() if tensor.is_contiguous() else writable(tensor) for tensor in tensors]
    arrays = [array for array in arrays if array.shape != (0,)] or arrays
    return to_tensor(np.concatenate(arrays, dim, dtype=promoted(arrays), casting="unsafe"))


def concat(tensors: Any, dim: int = 0) -> Tensor:
    return cat(tensors, dim)
