"""The list of what `install_cpu_kernels` replaces, and by what."""

from __future__ import annotations

from typing import Any

from ms_omni.kernels import (
    cpu_conv,
    cpu_creation,
    cpu_indexing,
    cpu_inplace,
    cpu_math,
    cpu_nn,
    cpu_random,
    cpu_tensor,
    cpu_wrapped,
)
from ms_omni.kernels.cpu import Fill

_MINT: tuple[tuple[Any, str], ...] = (
    (cpu_creation, "arange linspace zeros ones full full_like zeros_like ones_like empty empty_like clone"),
    (cpu_random, "rand randn rand_like randn_like randint randperm normal multinomial"),
    (cpu_indexing, "nonzero topk sort argsort argmax argmin index_select take index_add scatter_add stack"),
    (cpu_indexing, "repeat_interleave unique roll bincount"),
    (cpu_math, "any cumsum var std logsumexp norm count_nonzero tril log2 log10 outer mm mv dot addmm baddbmm"),
    (cpu_math, "einsum equal bitwise_or bitwise_not floor_divide mul"),
    (cpu_tensor, "clamp clip"),
    (cpu_wrapped, "where cat concat"),
)
_FUNCTIONAL: tuple[tuple[Any, str], ...] = (
    (cpu_nn, "embedding layer_norm gelu log_softmax elu softplus mish leaky_relu dropout pad"),
    (cpu_indexing, "one_hot"),
    (cpu_conv, "conv1d conv2d conv3d conv_transpose2d"),
)
_TENSOR: tuple[tuple[Any, str], ...] = (
    (cpu_creation, "clone new_full new_empty"),
    (cpu_indexing, "repeat nonzero topk sort argsort argmin index_add scatter_add masked_fill roll"),
    (cpu_math, "any cumsum var std dot floor_divide"),
    (cpu_tensor, "to astype type_as clamp clip"),
    (cpu_inplace, "copy_ fill_ zero_ clamp_ add_ sub_ mul_ div_ floor_divide_ remainder_ exp_ log_ sigmoid_ tanh_"),
    (cpu_inplace, "masked_fill_ masked_scatter_ index_add_ index_copy_ index_fill_ index_put_ scatter_ scatter_add_"),
    (cpu_inplace, "normal_ uniform_ exponential_"),
)
# what the convolution layers call: the module's own names for the operators
_CONV_LAYERS = {
    "mindspore.mint.nn.layer.conv": {
        f"conv{n}d_{kind}_op": getattr(cpu_conv, f"conv{n}d") for n in (1, 2, 3) for kind in ("ext", "padding")
    }
}


_COMPILE_ORIGINAL = frozenset("arange zeros ones full any clamp clip where cat concat embedding".split())


def _fills(owner: str, rows: tuple[tuple[Any, str], ...]) -> list[Fill]:
    return [
        Fill(owner, name, getattr(module, name), name in _COMPILE_ORIGINAL)
        for module, names in rows
        for name in names.split()
    ]


FILLS: tuple[Fill, ...] = (
    *_fills("mindspore.mint", _MINT),
    *_fills("mindspore.mint.nn.functional", _FUNCTIONAL),
    *_fills("mindspore.Tensor", _TENSOR),
    *(Fill("mindspore.Tensor", name, cast) for name, cast in cpu_tensor.CASTS.items()),
    Fill("mindspore.Tensor", "__getitem__", cpu_tensor.getitem),
    Fill("mindspore.Tensor", "__setitem__", cpu_tensor.setitem),
    *(Fill(owner, name, function) for owner, names in _CONV_LAYERS.items() for name, function in names.items()),
)
