"""Products of matrices: aclnnMatmul, Mm, BatchMatMul, Addmm, Baddbmm and their in-place forms."""

from __future__ import annotations

import numpy as np

from ascend_emulator.cube import check_math_type, computed_dtype, cube_input, require_plain_format
from ascend_emulator.device_tensor import FLOAT32, HALVES, DeviceTensor, require_dtype, require_rank, require_shape
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn


def product(left: DeviceTensor, right: DeviceTensor, number: int) -> np.ndarray:
    """float32 sums. cubeMathType has no effect between two vectors."""
    computed = FLOAT32 if FLOAT32 in (left.dtype, right.dtype) else left.dtype
    number = 0 if left.ndim == right.ndim == 1 else number
    return np.matmul(cube_input(left, number, computed), cube_input(right, number, computed))


def require_product(left: DeviceTensor, right: DeviceTensor) -> tuple[int, ...]:
    """The shape of the product. Raises Refused where the inner sizes differ or the batches do not broadcast."""
    inner = right.shape[-2] if right.ndim > 1 else right.shape[0]
    require(
        left.shape[-1] == inner,
        f"{left.name} {left.shape} and {right.name} {right.shape}: inner sizes {left.shape[-1]}, {inner} differ",
    )
    try:
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        batch = None
    require(batch is not None, f"{left.name} {left.shape} and {right.name} {right.shape}: the batches do not broadcast")
    rows = left.shape[-2:-1]
    return (*batch, *rows, *(right.shape[-1:] if right.ndim > 1 else ()))


def _check(left: DeviceTensor, right: DeviceTensor, out: DeviceTensor, number: int, keeps_dtype: bool) -> None:
    computed = computed_dtype(left, right)
    require_plain_format(left, right, out)
    check_math_type(number, computed, half_allows_hf32=not keeps_dtype)
    require_shape(out, require_product(left, right))
    require_dtype(out, computed)


@aclnn("aclnnMatmul(self: tensor, mat2: tensor, out: tensor, cubeMathType: int8)", doc="CANN 8.3.RC1, aclnnMatmul")
def matmul(a):
    a.out.put(product(a.self, a.mat2, a.cubeMathType))


@matmul.limits
def _(a):
    require_rank(a.self, 1, 6)
    require_rank(a.mat2, 1, 6)
    computed = computed_dtype(a.self, a.mat2)
    require_plain_format(a.self, a.mat2, a.out)
    if a.self.ndim > 1 or a.mat2.ndim > 1:
        check_math_type(a.cubeMathType, computed)
    require_shape(a.out, require_product(a.self, a.mat2))
    # The result is converted to the output's dtype, which may be any of the three
    require_dtype(a.out, FLOAT32, *HALVES)


@aclnn("aclnnMm(self: tensor, mat2: tensor, out: tensor, cubeMathType: int8)", doc="CANN 8.3.RC1, aclnnMm")
def mm(a):
    a.out.put(product(a.self, a.mat2, a.cubeMathType))


@mm.limits
def _(a):
    require_rank(a.self, 2)
    require_rank(a.mat2, 2)
    _check(a.self, a.mat2, a.out, a.cubeMathType, keeps_dtype=True)


@aclnn(
    "aclnnBatchMatMul(self: tensor, mat2: tensor, out: tensor, cubeMathType: int8)",
    doc="CANN 8.3.RC1, aclnnBatchMatMul",
)
def batch_matmul(a):
    a.out.put(product(a.self, a.mat2, a.cubeMathType))


@batch_matmul.limits
def _(a):
    require_rank(a.self, 3)
    require_rank(a.mat2, 3)
    _check(a.self, a.mat2, a.out, a.cubeMathType, keeps_dtype=False)


@aclnn(
    "aclnnAddmm(self: tensor, mat1: tensor, mat2: tensor, beta: scalar, alpha: scalar, out: tensor, "
    "cubeMathType: int8)",
    doc="CANN 8.3.RC1, aclnnAddmm",
)
def addmm(a):
    a.out.put(_added(a.self, a.mat1, a.mat2, a.beta, a.alpha, a.cubeMathType))


def _added(term: DeviceTensor, left: DeviceTensor, right: DeviceTensor, beta, alpha, number: int) -> np.ndarray:
    """beta 0 leaves the term out, whatever it holds."""
    made = np.float32(alpha) * product(left, right, number)
    return made if beta == 0 else made + np.float32(beta) * np.asarray(term.wide(), np.float32)


@addmm.limits
def _(a):
    _check_added(a.self, a.mat1, a.mat2, a.out, a.cubeMathType, 2, keeps_dtype=True)
    require_rank(a.self, 1, 2)


def _check_added(
    term: DeviceTensor,
    left: DeviceTensor,
    right: DeviceTensor,
    out: DeviceTensor,
    number: int,
    rank: int,
    keeps_dtype: bool,
) -> None:
    for tensor in (left, right):
        require_rank(tensor, rank)
    computed = computed_dtype(term, left, right)
    require_plain_format(term, left, right, out)
    check_math_type(number, computed, half_allows_hf32=not keeps_dtype)
    require_dtype(out, computed)
    shape = require_product(left, right)
    if rank == 3:
        require(left.shape[0] == right.shape[0], f"{right.name}: batch {right.shape[0]}, expected {left.shape[0]}")
    require_shape(out, shape)
    try:
        fits = np.broadcast_shapes(term.shape, shape) == shape
    except ValueError:
        fits = False
    require(fits, f"{term.name}: shape {term.shape} does not broadcast to that of the product, {shape}")


@aclnn(
    "aclnnInplaceAddmm(selfRef: tensor, mat1: tensor, mat2: tensor, beta: scalar, alpha: scalar, cubeMathType: int8)",
    doc="CANN 8.3.RC1, aclnnAddmm",
)
def inplace_addmm(a):
    a.selfRef.put(_added(a.selfRef, a.mat1, a.mat2, a.beta, a.alpha, a.cubeMathType))


@inplace_addmm.limits
def _(a):
    _check_added(a.selfRef, a.mat1, a.mat2, a.selfRef, a.cubeMathType, 2, keeps_dtype=True)


@aclnn(
    "aclnnBaddbmm(self: tensor, batch1: tensor, batch2: tensor, beta: scalar, alpha: scalar, out: tensor, "
    "cubeMathType: int8)",
    doc="CANN 8.3.RC1, aclnnBaddbmm",
)
def baddbmm(a):
    a.out.put(_added(a.self, a.batch1, a.batch2, a.beta, a.alpha, a.cubeMathType))


@baddbmm.limits
def _(a):
    _check_added(a.self, a.batch1, a.batch2, a.out, a.cubeMathType, 3, keeps_dtype=False)
    require_rank(a.self, 1, 3)


@aclnn(
    "aclnnInplaceBaddbmm(selfRef: tensor, batch1: tensor, batch2: tensor, beta: scalar, alpha: scalar, "
    "cubeMathType: int8)",
    doc="CANN 8.3.RC1, aclnnBaddbmm",
)
def inplace_baddbmm(a):
    a.selfRef.put(_added(a.selfRef, a.batch1, a.batch2, a.beta, a.alpha, a.cubeMathType))


@inplace_baddbmm.limits
def _(a):
    _check_added(a.selfRef, a.batch1, a.batch2, a.selfRef, a.cubeMathType, 3, keeps_dtype=False)
