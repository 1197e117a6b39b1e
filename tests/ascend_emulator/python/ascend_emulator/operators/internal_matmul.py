"""Internal kernels of MindSpore: products of matrices."""

from __future__ import annotations

import numpy as np

from ascend_emulator.kernel_dtypes import require_registered
from ascend_emulator.refusal import NOT_EMULATED, require
from ascend_emulator.table import internal

DOC = "MindSpore 2.7.1, ms_kernels_internal"


def _turned(array: np.ndarray, is_turned: float) -> np.ndarray:
    return np.swapaxes(array, -1, -2) if is_turned else array


def _product(a) -> np.ndarray:
    made = np.matmul(
        _turned(a.inputs[0].wide(), a.attributes["transpose_a"]),
        _turned(a.inputs[1].wide(), a.attributes["transpose_b"]),
    )
    return made + a.inputs[2].wide() if a.attributes["with_bias"] else made


def _check_inner(a) -> tuple[int, int]:
    """(rows, columns) of the product."""
    x, weight = (
        _turned(tensor.array, a.attributes[name])
        for tensor, name in zip(a.inputs, ("transpose_a", "transpose_b"), strict=False)
    )
    require(
        x.shape[-1] == weight.shape[-2],
        f"input 0 {a.inputs[0].shape} and input 1 {a.inputs[1].shape}: sizes {x.shape[-1]}, {weight.shape[-2]} differ",
    )
    return x.shape[-2], weight.shape[-1]


@internal("Matmul", doc=DOC)
def matmul(a):
    a.outputs[0].put(_product(a).reshape(a.outputs[0].shape))


@matmul.limits
def _(a):
    """Ranks: messages of libmatmul_op.so."""
    bias = a.inputs[2:3] if a.attributes["with_bias"] else []
    require_registered("Matmul", [*a.inputs[:2], *bias], a.outputs[:1])
    for place in (0, 1):
        require(
            2 <= a.inputs[place].ndim <= 4, f"input {place}: shape {a.inputs[place].shape}, allowed: 2 to 4 dimensions"
        )
    if a.inputs[1].ndim > 2:
        require(
            a.inputs[0].shape[:-2] == a.inputs[1].shape[:-2],
            f"input 1: shape {a.inputs[1].shape}, its batch must be that of input 0, {a.inputs[0].shape}",
        )
    for name in ("with_relu", "with_gelu", "enable_dequant", "with_sigmoid_add"):
        require(not a.attributes[name], f"{name} is not emulated", NOT_EMULATED)
    rows, width = _check_inner(a)
    expected = int(np.prod(a.inputs[0].shape[:-2])) * rows * width
    require(a.outputs[0].size == expected, f"output 0: shape {a.outputs[0].shape}, expected {expected} values")


@internal("MultiWeightMatmul", doc=DOC)
def multi_weight_matmul(a):
    """One product; its columns go to two or three outputs."""
    made, begin = _product(a), 0
    for out in a.outputs:
        width = out.shape[-1]
        out.put(made[..., begin : begin + width].reshape(out.shape))
        begin += width


@multi_weight_matmul.limits
def _(a):
    """Ranks and transposition: messages of libmulti_weight_matmul_kernel_op.so."""
    bias = a.inputs[2:3] if a.attributes["with_bias"] else []
    require_registered("MultiWeightMatmul", [*a.inputs[:2], *bias], a.outputs)
    require(a.inputs[0].ndim in (2, 3), f"input 0: shape {a.inputs[0].shape}, allowed: 2 or 3 dimensions")
    require(a.inputs[1].ndim == 2, f"input 1: shape {a.inputs[1].shape}, allowed: 2 dimensions")
    require(
        not a.attributes["transpose_a"] and a.attributes["transpose_b"],
        "transpose_a must be false and transpose_b true, "
        f"but they are {bool(a.attributes['transpose_a'])} and {bool(a.attributes['transpose_b'])}",
    )
    require(a.attributes["silu_position"] == -1, "silu_position is not emulated", NOT_EMULATED)
    _, width = _check_inner(a)
    given = [int(a.attributes[name]) for name in ("n0", "n1", "n2")][: len(a.outputs)]
    require(sum(given) == width, f"input 1: {width} rows, expected the sum of the outputs' widths {given}")
    for out, n in zip(a.outputs, given, strict=True):
        require(out.shape[-1] == n, f"{out.name}: shape {out.shape}, expected {n} columns")
