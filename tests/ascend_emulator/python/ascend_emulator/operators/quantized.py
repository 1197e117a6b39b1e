"""8-bit weights: rounding per token, and products of matrices with int8 weights. Grouped ones: grouped_matmul.py.

Emulated is what is symmetric or has offsets of the weight alone: no int4 or packed weights, no scales as integers, no
outputs rounded to int8, no FRACTAL_NZ. Sums of int8 products are exact, as int32 is; the rest is float32, rounded once.
"""

from __future__ import annotations

import numpy as np

from ascend_emulator.cube import require_plain_format
from ascend_emulator.device_tensor import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    HALVES,
    INT8,
    INT32,
    INT64,
    UINT64,
    DeviceTensor,
    require_contiguous,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.refusal import NOT_EMULATED, require
from ascend_emulator.table import aclnn

LAST_AXIS = 65535
INT8_LARGEST = np.float32(127)


def exact_product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """int8 matrices of an inner size below 2^17, whose sums int32 holds. As float64, which has them exactly."""
    return np.matmul(left.astype(np.float64), right.astype(np.float64))


def put_rounded(x: np.ndarray, out: DeviceTensor, scale_out: DeviceTensor) -> None:
    """int8 of float32 rows, and the scale of each. A row of zeros, for which the documents' formulas divide 0 by 0, has
    scale 0 and stays zero."""
    scale = np.abs(x).max(-1, initial=0) / INT8_LARGEST
    scale_out.put(scale)
    out.put(np.rint(x / np.where(scale == 0, np.float32(1), scale)[..., None]))


def is_plain_or_transposed(tensor: DeviceTensor) -> bool:
    """Dense, but for the order of the last two axes."""
    return tensor.is_contiguous or bool(tensor.array.swapaxes(-1, -2).flags.c_contiguous)


def _require_dense(*tensors: DeviceTensor) -> None:
    for tensor in tensors:
        require(is_plain_or_transposed(tensor), f"{tensor.name}: neither contiguous nor transposed")


@aclnn(
    "aclnnDynamicQuant(x: tensor, smoothScalesOptional: tensor?, yOut: tensor, scaleOut: tensor)",
    doc="CANN, open repository ops-nn of November 2025, aclnnDynamicQuant",
)
def dynamic_quant(a):
    x = a.x.wide()
    put_rounded(x if a.smoothScalesOptional is None else x * a.smoothScalesOptional.wide(), a.yOut, a.scaleOut)


@dynamic_quant.limits
def _(a):
    require_dtype(a.x, *HALVES)
    require_rank(a.x, 2, 8)
    if a.smoothScalesOptional is not None:
        require_same_dtype(a.x, a.smoothScalesOptional)
        require_shape(a.smoothScalesOptional, a.x.shape[-1:])
    # int4, and int32 that holds eight of it, are documented besides
    require_dtype(a.yOut, INT8)
    require_shape(a.yOut, a.x.shape)
    require_dtype(a.scaleOut, FLOAT32)
    require_shape(a.scaleOut, a.x.shape[:-1])


@aclnn(
    "aclnnWeightQuantBatchMatmulV2(x: tensor, weight: tensor, antiquantScale: tensor, "
    "antiquantOffsetOptional: tensor?, quantScaleOptional: tensor?, quantOffsetOptional: tensor?, "
    "biasOptional: tensor?, antiquantGroupSize: int, y: tensor)",
    doc="CANN, open repository ops-nn of September 2025, aclnnWeightQuantBatchMatmulV2",
)
def weight_quant_matmul(a):
    weight = a.weight.array.astype(np.float32)
    if a.antiquantOffsetOptional is not None:
        weight = weight + a.antiquantOffsetOptional.wide()
    made = a.x.wide() @ (weight * a.antiquantScale.wide())
    a.y.put(made if a.biasOptional is None else made + a.biasOptional.wide())


@weight_quant_matmul.limits
def _(a):
    for tensor in (a.x, a.weight, a.y):
        require_rank(tensor, 2)
    require_dtype(a.x, *HALVES)
    require_plain_format(a.x, a.antiquantScale, a.y)
    require(a.weight.format != "FRACTAL_NZ", "weight: FRACTAL_NZ is not emulated", NOT_EMULATED)
    require_plain_format(a.weight)
    require(a.weight.dtype != INT32, "weight: int32, which holds eight int4, is not emulated", NOT_EMULATED)
    require_dtype(a.weight, INT8)
    require(
        a.quantScaleOptional is None and a.quantOffsetOptional is None,
        "quantScaleOptional, quantOffsetOptional: an output rounded to int8 is not emulated",
        NOT_EMULATED,
    )
    require(a.antiquantScale.dtype not in (INT64, UINT64), "antiquantScale: integers are not emulated", NOT_EMULATED)
    (rows, inner), width = a.x.shape, a.weight.shape[1]
    require(a.weight.shape[0] == inner, f"weight: K {a.weight.shape[0]}, expected that of x, {inner}")
    for name, size in (("k", inner), ("n", width)):
        require(1 <= size <= LAST_AXIS, f"{name}: {size}, allowed: 1 to {LAST_AXIS}")
    is_transposed = not a.x.is_contiguous
    most = LAST_AXIS if is_transposed else 2**31 - 1
    require(1 <= rows <= most, f"m: {rows}, allowed with x {'' if is_transposed else 'not '}transposed: 1 to {most}")
    _require_dense(a.x, a.weight)
    # Groups along K: 32 to K - 1 of them, a multiple of 32
    require(a.antiquantGroupSize == 0, f"antiquantGroupSize: {a.antiquantGroupSize}, only 0 is emulated", NOT_EMULATED)
    require_same_dtype(a.x, a.antiquantScale)
    _require_one_of(a.antiquantScale, (1,), (1, 1), (width,), (1, width))
    if a.antiquantOffsetOptional is not None:
        require_same_dtype(a.x, a.antiquantOffsetOptional)
        require_shape(a.antiquantOffsetOptional, a.antiquantScale.shape)
    if a.biasOptional is not None:
        require_dtype(a.biasOptional, FLOAT32 if a.x.dtype == BFLOAT16 else FLOAT16)
        _require_one_of(a.biasOptional, (width,), (1, width))
        require_contiguous(a.biasOptional)
    require_same_dtype(a.x, a.y)
    require_shape(a.y, (rows, width))
    require_contiguous(a.y)


def _require_one_of(tensor: DeviceTensor, *shapes: tuple[int, ...]) -> None:
    allowed = ", ".join(str(shape) for shape in shapes)
    require(tensor.shape in shapes, f"{tensor.name}: shape {tensor.shape}, allowed: {allowed}")


@aclnn(
    "aclnnQuantMatmulV4(x1: tensor, x2: tensor, scale: tensor, offset: tensor?, pertokenScaleOptional: tensor?, "
    "bias: tensor?, transposeX1: bool, transposeX2: bool, out: tensor)",
    doc="CANN, open repository ops-nn of September 2025, aclnnQuantMatmulV4",
)
def quant_matmul(a):
    left, right = _operands(a)
    made = exact_product(left, right)
    is_integer = a.bias is not None and a.bias.dtype == INT32
    if is_integer:
        made = made + a.bias.array
    if a.out.dtype != INT32:
        made = made.astype(np.float32) * np.asarray(a.scale.wide(), np.float32)
        if a.pertokenScaleOptional is not None:
            made = made * a.pertokenScaleOptional.array[:, None]
    if a.bias is not None and not is_integer:
        made = made + a.bias.wide()
    a.out.put(made)


def _operands(a) -> tuple[np.ndarray, np.ndarray]:
    left = a.x1.array.swapaxes(-1, -2) if a.transposeX1 else a.x1.array
    return left, a.x2.array.swapaxes(-1, -2) if a.transposeX2 else a.x2.array


# By out: of scale, of bias, and whether scales of tokens must be (True), may be (None) or must not be given
_TAKEN_FOR = {
    BFLOAT16: ((FLOAT32, BFLOAT16), (INT32, BFLOAT16, FLOAT32), None),
    FLOAT16: ((FLOAT32,), (INT32, FLOAT16, FLOAT32), True),
    INT32: ((FLOAT32, BFLOAT16), (INT32,), False),
}


@quant_matmul.limits
def _(a):
    for tensor in (a.x1, a.x2):
        require(tensor.format != "FRACTAL_NZ", f"{tensor.name}: FRACTAL_NZ is not emulated", NOT_EMULATED)
        require(tensor.dtype != INT32, f"{tensor.name}: int32, which holds eight int4, is not emulated", NOT_EMULATED)
        require_dtype(tensor, INT8)
        require_rank(tensor, 2, 6)
        require(tensor.ndim == 2, f"{tensor.name}: batches are not emulated", NOT_EMULATED)
        require(tensor.size > 0, f"{tensor.name}: shape {tensor.shape}, an empty tensor is not allowed")
        require(tensor.shape[-1] <= LAST_AXIS, f"{tensor.name}: last axis {tensor.shape[-1]}, at most {LAST_AXIS}")
    require_plain_format(a.x1, a.x2, a.scale, a.out)
    _require_dense(a.x1, a.x2)
    left, right = _operands(a)
    (rows, inner), width = left.shape, right.shape[1]
    require(right.shape[0] == inner, f"x2: K {right.shape[0]}, expected that of x1, {inner}")
    require(a.scale.dtype not in (INT64, UINT64), "scale: integers are not emulated", NOT_EMULATED)
    require(a.out.dtype != INT8, "out: int8 is not emulated", NOT_EMULATED)
    require_dtype(a.out, *_TAKEN_FOR)
    scales, biases, has_token_scales = _TAKEN_FOR[a.out.dtype]
    require_dtype(a.scale, *scales)
    _require_one_of(a.scale, (1,), (width,))
    require(a.offset is None, f"offset: given, allowed only with out int8, out is {a.out.dtype}")
    tokens = a.pertokenScaleOptional
    if has_token_scales is not None:
        wanted = "must be given" if has_token_scales else "must be a null pointer"
        require((tokens is not None) == has_token_scales, f"pertokenScaleOptional: {wanted} with out {a.out.dtype}")
    if tokens is not None:
        require_dtype(tokens, FLOAT32)
        require_shape(tokens, (rows,))
    if a.bias is not None:
        require_dtype(a.bias, *biases)
        require_shape(a.bias, (width,))
    require_shape(a.out, (rows, width))
