"""The list of what `install_cpu_kernels` replaces, and by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ms_omni.kernels import cpu_conv, cpu_creation, cpu_indexing, cpu_nn, cpu_random, cpu_tensor


class Fill(NamedTuple):
    """`replacement` takes the place of attribute `name` of `owner` (a module, or mindspore.Tensor).

    `compile_original`: inside ms.jit the original is compiled, which works there.
    """

    owner: str
    name: str
    replacement: Callable[..., Any]
    compile_original: bool = False


_MINT: dict[Any, str] = {
    cpu_creation: "arange linspace zeros ones full zeros_like ones_like full_like empty cat concat stack",
    cpu_indexing: "nonzero where topk sort argmax index_select repeat_interleave",
    cpu_nn: "outer",
    cpu_random: "multinomial",
    cpu_tensor: "clamp clip",
}
_FUNCTIONAL: dict[Any, str] = {
    cpu_conv: "conv_transpose2d",
    cpu_indexing: "one_hot",
    cpu_nn: "embedding layer_norm gelu dropout pad",
}
_TENSOR: dict[Any, str] = {
    cpu_creation: "clone repeat",
    cpu_indexing: "nonzero masked_fill any cumsum",
    cpu_tensor: "to astype clamp clip fill_ masked_fill_ index_add_ index_put_ scatter_",
}
_COMPILE_ORIGINAL = ("arange", "zeros", "ones", "full", "clamp", "clip", "where", "cat", "concat", "embedding")


def _fills(owner: str, table: dict[Any, str]) -> list[Fill]:
    return [
        Fill(owner, name, getattr(module, name), name in _COMPILE_ORIGINAL)
        for module, names in table.items()
        for name in names.split()
    ]


FILLS: tuple[Fill, ...] = (
    *_fills("mindspore.mint", _MINT),
    *_fills("mindspore.mint.nn.functional", _FUNCTIONAL),
    *_fills("mindspore.Tensor", _TENSOR),
    *(Fill("mindspore.Tensor", name, cast) for name, cast in cpu_tensor.CASTS.items()),
    Fill("mindspore.Tensor", "__getitem__", cpu_tensor.getitem),
    Fill("mindspore.Tensor", "__setitem__", cpu_tensor.setitem),
    # what the convolution layers call
    *(Fill("mindspore.mint.nn.layer.conv", f"conv{n}d_ext_op", getattr(cpu_conv, f"conv{n}d")) for n in (1, 2, 3)),
)
