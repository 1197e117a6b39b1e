"""Selecting, sorting, scattering, joining and repeating on the CPU. Signatures are mint's; indices are int64."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
from mindspore import Tensor

from ms_omni.kernels.cpu_arrays import as_shape, promoted, scalar, to_tensor

_Sorted = namedtuple("_Sorted", ["values", "indices"])
_SORT_ALL_BELOW = 1024  # a row of this size is sorted faster than partitioned


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


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    return to_tensor(_order(input.asnumpy(), dim, descending))


def _order(array: np.ndarray, dim: int, descending: bool) -> np.ndarray:
    """Stable sorting indices; NaN counts as the largest, as in mint."""
    if not descending:
        return np.argsort(array, dim, kind="stable")
    # reversing the input before and the answer after keeps equal values in their first order
    backwards = np.flip(np.argsort(np.flip(array, dim), dim, kind="stable"), dim)
    return array.shape[dim] - 1 - backwards


def argmax(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return to_tensor(np.argmax(input.asnumpy(), dim, keepdims=keepdim and dim is not None))


def argmin(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return to_tensor(np.argmin(input.asnumpy(), dim, keepdims=keepdim and dim is not None))


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    return to_tensor(np.take(input.asnumpy(), index.asnumpy(), axis=dim))


def take(input: Tensor, index: Tensor) -> Tensor:
    return to_tensor(np.take(input.asnumpy(), index.asnumpy()))


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """input with alpha * source added to the slices `index` of `dim`; a repeated index adds every time."""
    out, rows, add = input.asnumpy().copy(), index.asnumpy(), source.asnumpy()
    target = np.moveaxis(out, dim, 0)
    add = np.moveaxis(add if alpha == 1 else add * scalar(alpha), dim, 0).astype(out.dtype, copy=False)
    if len(set(rows.tolist())) == rows.size:  # ufunc.at is slow, and only repeated indices need it
        target[rows] += add
    else:
        np.add.at(target, rows, add)
    return to_tensor(out)


def scatter(input: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """input with out[index[i]] = src[i] along `dim`; src: a number, or a tensor at least as large as index."""
    out = input.asnumpy().copy()
    out[elements(index.asnumpy(), dim)] = scatter_source(src, index)
    return to_tensor(out)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    out = input.asnumpy().copy()
    np.add.at(out, elements(index.asnumpy(), dim), scatter_source(src, index))
    return to_tensor(out)


def elements(index: np.ndarray, dim: int) -> tuple[np.ndarray, ...]:
    """The advanced index of the elements that scatter along `dim` writes."""
    where = list(np.ogrid[tuple(slice(size) for size in index.shape)])
    where[dim] = index
    return tuple(where)


def scatter_source(src: Any, index: Tensor) -> Any:
    return src.asnumpy()[tuple(slice(size) for size in index.shape)] if isinstance(src, Tensor) else src


def masked_fill(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Tensor.masked_fill; its kernel refuses an int value for a float tensor."""
    array = self.asnumpy()
    return to_tensor(np.where(mask.asnumpy(), np.asarray(scalar(value)).astype(array.dtype), array))


def stack(tensors: Any, dim: int = 0) -> Tensor:
    arrays = [tensor.asnumpy() for tensor in tensors]
    return to_tensor(np.stack(arrays, dim).astype(promoted(arrays), copy=False))


def repeat(self: Tensor, *repeats: Any) -> Tensor:
    """Tensor.repeat: tile, with at least as many repeats as dimensions."""
    times = as_shape(repeats)
    if len(times) < self.ndim:
        raise ValueError(f"repeat: expected at least {self.ndim} repeats for shape {self.shape}, got {times}")
    return to_tensor(np.tile(self.asnumpy(), times))


def repeat_interleave(input: Tensor, repeats: Any, dim: Any = None, output_size: Any = None) -> Tensor:
    """repeats: an int, a list or a 1-d tensor as long as `dim`; dim None flattens."""
    times = repeats.asnumpy() if isinstance(repeats, Tensor) else repeats
    return to_tensor(np.repeat(input.asnumpy(), times, axis=dim))


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: Any = None
) -> Any:
    values, inverse, counts = np.unique(input.asnumpy(), return_inverse=True, return_counts=True, axis=dim)
    parts = [to_tensor(values)]
    if return_inverse:
        parts.append(to_tensor(inverse.reshape(input.shape if dim is None else -1)))
    if return_counts:
        parts.append(to_tensor(counts))
    return tuple(parts) if len(parts) > 1 else parts[0]


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    return to_tensor(np.roll(input.asnumpy(), shifts, dims))


def bincount(input: Tensor, weights: Any = None, minlength: int = 0) -> Tensor:
    if weights is None:
        return to_tensor(np.bincount(input.asnumpy(), minlength=minlength))
    return to_tensor(np.bincount(input.asnumpy(), weights.asnumpy(), minlength), weights.dtype)
