"""Tensor methods that write in place on the CPU.

Most have no kernel; `add_`, `sub_`, `mul_`, `div_`, `floor_divide_`, `remainder_` and `exp_` of MindSpore 2.7.1 return
the right answer and leave the tensor as it was, and `copy_` does so on a view. Here all of them write through views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mindspore import Tensor, mint

from ms_omni.kernels.cpu_arrays import scalar, to_tensor, writable
from ms_omni.kernels.cpu_indexing import elements, index_add, scatter_source
from ms_omni.kernels.cpu_random import numpy_generator
from ms_omni.kernels.cpu_tensor import clamp


def copy_(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Take the values of src, broadcast and cast."""
    values = src.asnumpy()  # a view is copied, so overlapping memory is safe; without a view src is self or apart
    writable(self)[...] = values
    return self


def _from_pure(pure: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def in_place(self: Tensor, *args: Any, **named: Any) -> Tensor:
        return copy_(self, pure(self, *args, **named))

    return in_place


add_ = _from_pure(mint.add)
sub_ = _from_pure(mint.sub)
mul_ = _from_pure(lambda self, other: self * other)
div_ = _from_pure(mint.div)
floor_divide_ = _from_pure(lambda self, other: self // other)
remainder_ = _from_pure(mint.remainder)
exp_ = _from_pure(mint.exp)
log_ = _from_pure(mint.log)
sigmoid_ = _from_pure(mint.sigmoid)
tanh_ = _from_pure(mint.tanh)
index_add_ = _from_pure(index_add)


def fill_(self: Tensor, value: Any) -> Tensor:
    writable(self)[...] = scalar(value)
    return self


def zero_(self: Tensor) -> Tensor:
    return fill_(self, 0)


def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    return copy_(self, clamp(self, min, max))


def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    out = writable(self)
    out[np.broadcast_to(mask.asnumpy(), out.shape)] = scalar(value)
    return self


def masked_scatter_(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The first values of source, in order, where mask is true."""
    out = writable(self)
    chosen = np.broadcast_to(mask.asnumpy(), out.shape)
    out[chosen] = source.asnumpy().ravel()[: np.count_nonzero(chosen)]
    return self


def index_copy_(self: Tensor, dim: int, index: Tensor, tensor: Tensor) -> Tensor:
    np.moveaxis(writable(self), dim, 0)[index.asnumpy()] = np.moveaxis(tensor.asnumpy(), dim, 0)
    return self


def index_fill_(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    np.moveaxis(writable(self), dim, 0)[index.asnumpy()] = scalar(value)
    return self


def index_put_(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    where = tuple(index.asnumpy() for index in indices)
    if accumulate:
        np.add.at(writable(self), where, values.asnumpy())
    else:
        writable(self)[where] = values.asnumpy()
    return self


def scatter_(
    self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: Any = None
) -> Tensor:
    where = elements(index.asnumpy(), dim)
    source = scatter_source(value if src is None else src, index)
    if reduce is None:
        writable(self)[where] = source
    else:
        reduction = np.add if reduce == "add" else np.multiply
        reduction.at(writable(self), where, source)
    return self


def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    np.add.at(writable(self), elements(index.asnumpy(), dim), scatter_source(src, index))
    return self


def normal_(self: Tensor, mean: Any = 0, std: Any = 1, *, generator: Any = None) -> Tensor:
    return _drawn(self, numpy_generator(generator).normal(scalar(mean), scalar(std), self.shape))


def uniform_(self: Tensor, from_: Any = 0, to: Any = 1, *, generator: Any = None) -> Tensor:
    return _drawn(self, numpy_generator(generator).uniform(scalar(from_), scalar(to), self.shape))


def exponential_(self: Tensor, lambd: Any = 1, *, generator: Any = None) -> Tensor:
    return _drawn(self, numpy_generator(generator).exponential(1 / scalar(lambd), self.shape))


def _drawn(self: Tensor, values: np.ndarray) -> Tensor:
    return copy_(self, to_tensor(values))
