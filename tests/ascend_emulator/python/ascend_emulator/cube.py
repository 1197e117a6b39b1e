"""What the operators of the matrix unit share: cubeMathType, and the dtype that two inputs are computed in.

Source: CANN, the documents of aclnnMatmul, aclnnMm, aclnnBatchMatMul, aclnnAddmm, aclnnBaddbmm and aclnnConvolution,
for A2 and A3 cards.
"""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import BFLOAT16, FLOAT16, FLOAT32, FLOATS, DeviceTensor, require_dtype
from ascend_emulator.refusal import require

KEEP_DTYPE, ALLOW_FP32_DOWN_PRECISION, USE_FP16, USE_HF32 = range(4)
HF32_MANTISSA_BITS = 11  # not given by these documents; what is generally said of the format
PLAIN_FORMATS = ("ND", "NCHW", "NHWC", "NCDHW", "NCL")


def computed_dtype(*tensors: DeviceTensor) -> np.dtype:
    """float16 with float32 becomes float32; bfloat16 goes with nothing else."""
    for tensor in tensors:
        require_dtype(tensor, *FLOATS)
    dtypes = {tensor.dtype for tensor in tensors}
    names = ", ".join(f"{tensor.name} {tensor.dtype}" for tensor in tensors)
    require(len(dtypes) == 1 or BFLOAT16 not in dtypes, f"{names}: bfloat16 is not promoted with another dtype")
    return FLOAT32 if FLOAT32 in dtypes else dtypes.pop()


def check_math_type(number: int, dtype: np.dtype, half_allows_hf32: bool = False) -> None:
    """half_allows_hf32: USE_HF32 has no effect on float16 and bfloat16 instead of being refused."""
    require(number in range(4), f"cubeMathType: {number}, allowed: 0 to 3")
    require(number != USE_FP16 or dtype != BFLOAT16, "cubeMathType: 2 (USE_FP16) is not allowed for bfloat16")
    require(
        number != USE_HF32 or dtype == FLOAT32 or half_allows_hf32,
        f"cubeMathType: 3 (USE_HF32) is not allowed for {dtype}",
    )


def cube_input(tensor: DeviceTensor, number: int, computed: np.dtype) -> np.ndarray:
    """The values as the matrix unit takes them, as float32 numbers: float32 is rounded to float16 or HFLOAT32 where
    cubeMathType says so."""
    values = np.asarray(tensor.wide(), np.float32)
    if computed != FLOAT32 or number == KEEP_DTYPE:
        return values
    return values.astype(FLOAT16).astype(np.float32) if number == USE_FP16 else to_hf32(values)


def to_hf32(values: np.ndarray) -> np.ndarray:
    """float32 with 11 bits of mantissa, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    dropped = 23 - HF32_MANTISSA_BITS
    odd = (bits >> np.uint32(dropped)) & np.uint32(1)
    rounded = (bits + np.uint32((1 << (dropped - 1)) - 1) + odd) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    return np.where(np.isfinite(values), rounded.view(np.float32), values)


def require_plain_format(*tensors: DeviceTensor) -> None:
    for tensor in tensors:
        require(tensor.format in PLAIN_FORMATS, f"{tensor.name}: format {tensor.format}, allowed: ND")
