"""Selecting, sorting, masking and summing on the CPU. Signatures are mint's; indices are int64."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
from mindspore import Tensor, mint

from ms_omni.checkpoint.parameters import numpy_dtype
from ms_omni.kernels.cpu_arrays import scalar, summed, to_tensor

_Sorted = namedtuple("_Sorted", ["values", "indices"])
_SORT_ALL_BELOW = 1024  # a row of this size is sorted faster than partitioned
_where = mint.where


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 (*tensor.shape, num_classes). Raises ValueError for a class outside."""
    classes = tensor.asnumpy()
    if num_classes == -1:
        num_classes = int(classes.max()) + 1
    if classes.size and (classes.min() < 0 or classes.max() >= num_classes):
        raise ValueError(f"one_hot: classes must be in 0..{num_classes - 1}, got {classes.min()}..{classes.max()}")
    out = np.zeros((*classes.shape, num_classes), np.int64)
    np.put_along_axis(out, classes[..., None], 1, -1)
    return to_tensor(out)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """(count, ndim) int64, or with `as_tuple` one (count,) tensor per dimension."""
    array = input.asnumpy()
    if as_tuple:
        return tuple(to_tensor(axis) for axis in np.nonzero(np.atleast_1d(array)))
    return to_tensor(np.argwhere(array))


def where(condition: Tensor, *branches: Any, **named: Any) -> Any:
    """where(condition) is nonzero as a tuple; where(condition, input, other) has a kernel."""
    if not branches and not named:
        return nonzero(condition, as_tuple=True)
    return _where(condition, *branches, **named)


def topk(input: Tensor, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (smallest) along `dim`, in order; of equal values the earlier index comes first."""
    k, array = int(scalar(k)), input.asnumpy()
    if largest and array.ndim and array.shape[dim] > _SORT_ALL_BELOW:
        chosen = np.apply_along_axis(_largest, dim, array, k)
    else:
        chosen = np.take(_order(array, dim, descending=largest), range(k), axis=dim)
    return _Sorted(to_tensor(np.take_along_axis(array, chosen, dim)), to_tensor(chosen))


def _largest(row: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k largest of one row, without sorting the rest: a vocabulary has 152 064 entries."""
    smallest_kept = np.partition(row, row.size - k)[row.size - k] if k else np.inf
    candidates = np.flatnonzero(~(row < smallest_kept))  # so written, NaN stays: it counts as the largest
    return candidates[_order(row[candidates], 0, descending=True)[:k]]


def sort(input: Tensor, *, dim: int = -1, descending: bool = False, stable: bool = False) -> tuple[Tensor, Tensor]:
    array = input.asnumpy()
    order = _order(array, dim, descending)
    return _Sorted(to_tensor(np.take_along_axis(array, order, dim)), to_tensor(order))


def _order(array: np.ndarray, dim: int, descending: bool) -> np.ndarray:
    """Stable sorting indices; NaN counts as the largest, as in mint."""
    if not descending:
        return np.argsort(array, dim, kind="stable")
    # reversing the input before and the answer after keeps equal values in their first order
    backwards = np.flip(np.argsort(np.flip(array, dim), dim, kind="stable"), dim)
    return array.shape[dim] - 1 - backwards


def argmax(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return to_tensor(np.argmax(input.asnumpy(), dim, keepdims=keepdim and dim is not None))


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    return to_tensor(np.take(input.asnumpy(), index.asnumpy(), axis=dim))


def masked_fill(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Tensor.masked_fill; its kernel refuses an int value for a float tensor."""
    array = self.asnumpy()
    return to_tensor(np.where(mask.asnumpy(), np.asarray(scalar(value)).astype(array.dtype), array))


def repeat_interleave(input: Tensor, repeats: Any, dim: Any = None, output_size: Any = None) -> Tensor:
    """repeats: an int, a list or a 1-d tensor as long as `dim`; dim None flattens."""
    times = repeats.asnumpy() if isinstance(repeats, Tensor) else repeats
    return to_tensor(np.repeat(input.asnumpy(), times, axis=dim))


def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """MindSpore's own gives wrong answers for integers along a dimension."""
    return to_tensor(np.any(input.asnumpy(), tuple(dim) if isinstance(dim, list) else dim, keepdims=keepdim))


def cumsum(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    array = input.asnumpy()
    return to_tensor(np.cumsum(array, dim, dtype=summed(array) if dtype is None else numpy_dtype(dtype)))
