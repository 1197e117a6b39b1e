"""Indexing, casting and writing in place of tensors on the CPU.

MindSpore's own are wrong or slow there: `x[mask, :]` with a mask of several dimensions raises or reads elsewhere,
assignment to a view does not reach its base, an index by two tensors takes 1.7 ms and any change of dtype 0.5 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor
from mindspore.common import dtype as mstype

from ms_omni.kernels.cpu_arrays import is_floating, scalar, to_tensor, writable

_getitem, _to, _astype = Tensor.__getitem__, Tensor.to, Tensor.astype


def getitem(self: Tensor, index: Any) -> Tensor:
    """x[index]: MindSpore's own, a view, unless a tensor is part of the index."""
    parts = index if isinstance(index, tuple) else (index,)
    if not any(isinstance(part, Tensor) for part in parts):
        return _getitem(self, index)
    basic, advanced = _split_index(parts, self.ndim)
    if not any(isinstance(part, np.ndarray) for part in advanced):
        return _getitem(self, basic)
    return to_tensor(self.asnumpy()[basic][advanced])


def setitem(self: Tensor, index: Any, value: Any) -> None:
    basic, advanced = _split_index(index if isinstance(index, tuple) else (index,), self.ndim)
    target = writable(self)[(*basic, ...)]  # the ellipsis keeps a view where every dimension is picked by an int
    target[advanced] = value.asnumpy() if isinstance(value, Tensor) else value


def _split_index(parts: tuple[Any, ...], ndim: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """An index as two steps: ints, slices and new axes first, then the arrays.

    numpy would treat an int beside an array as one more array and move its dimension to the front.
    """
    parts = tuple(_plain(part) for part in parts)
    consumed = sum(_num_consumed(part) for part in parts)
    basic: list[Any] = []
    advanced: list[Any] = []
    for part in parts:
        if isinstance(part, np.ndarray):
            basic += [slice(None)] * _num_consumed(part)
            advanced.append(part)
        elif part is Ellipsis:
            basic += [slice(None)] * (ndim - consumed)
            advanced += [slice(None)] * (ndim - consumed)
        else:
            basic.append(part)
            if not isinstance(part, int):
                advanced.append(slice(None))
    return tuple(basic), tuple(advanced)


def _plain(part: Any) -> Any:
    """Tensors and sequences as arrays, but integers of no dimension as ints; slices with Python bounds."""
    if isinstance(part, Tensor):
        part = part.asnumpy()
    elif isinstance(part, list | tuple | range):
        part = np.asarray([item.item() if isinstance(item, Tensor) else item for item in part])
    elif isinstance(part, bool):
        part = np.asarray(part)
    if isinstance(part, np.ndarray | np.generic) and part.ndim == 0 and part.dtype.kind in "iu":
        return part.item()
    if isinstance(part, slice):
        return slice(*(int(b.item()) if isinstance(b, Tensor) else b for b in (part.start, part.stop, part.step)))
    return part


def _num_consumed(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == np.bool_ else 1


def to(self: Tensor, *args: Any, **named: Any) -> Tensor:
    """Tensor.to, with the cast to another dtype done in numpy."""
    dtype = args[0] if len(args) == 1 and not named else named.get("dtype") if not args and len(named) == 1 else None
    if isinstance(dtype, mstype.Type) and dtype != self.dtype:
        return to_tensor(self.asnumpy(), dtype)
    return _to(self, *args, **named)


def astype(self: Tensor, dtype: Any, copy: bool = True) -> Tensor:
    if isinstance(dtype, mstype.Type) and dtype != self.dtype:
        return to_tensor(self.asnumpy(), dtype)
    return _astype(self, dtype, copy)


def _caster(dtype: Any) -> Callable[[Tensor], Tensor]:
    return lambda self: to(self, dtype)


CASTS: dict[str, Callable[[Tensor], Tensor]] = {
    "float": _caster(ms.float32),
    "int": _caster(ms.int32),
    "long": _caster(ms.int64),
    "bool": _caster(ms.bool_),
}


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """The kernel casts its bounds, 1.1 ms. An integer tensor with a float bound becomes float32, as in mint."""
    bounds = [bound.asnumpy() if isinstance(bound, Tensor) else bound for bound in (min, max)]
    array = input.asnumpy()
    dtype = array.dtype
    if not is_floating(array) and any(np.asarray(bound).dtype.kind == "f" for bound in bounds if bound is not None):
        dtype = np.dtype(np.float32)
    return to_tensor(np.clip(array.astype(dtype), *bounds).astype(dtype, copy=False))


clip = clamp


# Methods that write in place. MindSpore 2.7.1 has no kernel for most of them; the others return the right answer and
# leave the tensor as it was, or do so on a view.


def fill_(self: Tensor, value: Any) -> Tensor:
    writable(self)[...] = scalar(value)
    return self


def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    out = writable(self)
    out[np.broadcast_to(mask.asnumpy(), out.shape)] = scalar(value)
    return self


def index_add_(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Adds source to the slices `index` of `dim`; a repeated index adds every time."""
    target, rows = np.moveaxis(writable(self), dim, 0), index.asnumpy()
    added = np.moveaxis(source.asnumpy(), dim, 0).astype(target.dtype, copy=False)
    if len(set(rows.tolist())) == rows.size:  # ufunc.at is slow, and only repeated indices need it
        target[rows] += added
    else:
        np.add.at(target, rows, added)
    return self


def index_put_(self: Tensor, indices: Any, values: Tensor) -> Tensor:
    writable(self)[tuple(index.asnumpy() for index in indices)] = values.asnumpy()
    return self


def scatter_(self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None) -> Tensor:
    """self[index[i]] = src[i] along `dim`; src: a number, or a tensor at least as large as index."""
    where: list[Any] = list(np.ogrid[tuple(slice(size) for size in index.shape)])
    where[dim] = index.asnumpy()
    source = value if src is None else src
    if isinstance(source, Tensor):
        source = source.asnumpy()[tuple(slice(size) for size in index.shape)]
    writable(self)[tuple(where)] = source
    return self
