"""Activations, and softmax."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from ascend_emulator.device_tensor import (
    COMPLEX64,
    COMPLEX128,
    FLOAT64,
    FLOATS,
    INT8,
    INT32,
    INT64,
    DeviceTensor,
    require_contiguous,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn


def sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def _check_same(self: DeviceTensor, out: DeviceTensor) -> None:
    require_dtype(self, *FLOATS)
    require_same_dtype(self, out)
    require_rank(self, 0, 8)
    require_shape(out, self.shape)


@aclnn("aclnnSwiGlu(x: tensor, dimOptional: int, out: tensor)", doc="CANN 8.3.RC1, aclnnSwiGlu")
def swiglu(a):
    gate, up = np.split(a.x.wide(), 2, axis=a.dimOptional)
    a.out.put(gate * sigmoid(gate) * up)


@swiglu.limits
def _(a):
    require_dtype(a.x, *FLOATS)
    require_same_dtype(a.x, a.out)
    require_rank(a.x, 1, 8)
    require_contiguous(a.x, a.out)
    axis = a.dimOptional
    require(-a.x.ndim <= axis < a.x.ndim, f"dimOptional: {axis}, allowed: {-a.x.ndim} to {a.x.ndim - 1}")
    require(a.x.shape[axis] % 2 == 0, f"x: shape {a.x.shape}, dimension {axis} must be even")
    halved = list(a.x.shape)
    halved[axis] //= 2
    require_shape(a.out, tuple(halved))


@aclnn("aclnnSilu(self: tensor, out: tensor)", doc="CANN 8.3.RC1, aclnnSilu")
def silu(a):
    x = a.self.wide()
    a.out.put(x * sigmoid(x))


@silu.limits
def _(a):
    _check_same(a.self, a.out)


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + erf(x / np.sqrt(np.float32(2))))


@aclnn("aclnnGelu(self: tensor, out: tensor)", doc="CANN 8.3.RC1, aclnnGelu")
def gelu(a):
    """Of the error function; CANN's own kernel approximates it within the rounding of half precision."""
    a.out.put(_gelu(a.self.wide()))


@gelu.limits
def _(a):
    _check_same(a.self, a.out)


@aclnn("aclnnGeluV2(x: tensor, approximate: int, y: tensor)", doc="CANN 8.3.RC1, aclnnGeluV2")
def gelu_v2(a):
    x = a.x.wide()
    if a.approximate == 0:
        a.y.put(_gelu(x))
    else:
        a.y.put(0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3))))


@gelu_v2.limits
def _(a):
    _check_same(a.x, a.y)
    require(a.approximate in (0, 1), f"approximate: {a.approximate}, allowed: 0 (none), 1 (tanh)")


@aclnn("aclnnSigmoid(self: tensor, out: tensor)", doc="CANN 8.3.RC1, aclnnSigmoid")
def sigmoid_of(a):
    a.out.put(sigmoid(a.self.wide()))


@sigmoid_of.limits
def _(a):
    _check_same(a.self, a.out)


@aclnn("aclnnInplaceSigmoid(selfRef: tensor)", doc="CANN 8.3.RC1, aclnnInplaceSigmoid")
def inplace_sigmoid(a):
    a.selfRef.put(sigmoid(a.selfRef.wide()))


@inplace_sigmoid.limits
def _(a):
    require_dtype(a.selfRef, *FLOATS, FLOAT64, COMPLEX64, COMPLEX128)
    require_rank(a.selfRef, 1, 8)


@aclnn("aclnnRelu(self: tensor, out: tensor)", doc="CANN 8.3.RC1, aclnnRelu")
def relu(a):
    a.out.put(np.maximum(a.self.wide(), 0))


@relu.limits
def _(a):
    require_dtype(a.self, *FLOATS, INT8, INT32, INT64)
    require_same_dtype(a.self, a.out)
    require_rank(a.self, 0, 8)
    require_shape(a.out, a.self.shape)


@aclnn("aclnnLeakyRelu(self: tensor, negativeSlope: scalar, out: tensor)", doc="CANN 8.3.RC1, aclnnLeakyRelu")
def leaky_relu(a):
    x = a.self.wide()
    a.out.put(np.where(x > 0, x, x * np.float32(a.negativeSlope)))


@leaky_relu.limits
def _(a):
    require_dtype(a.self, *FLOATS)
    require_dtype(a.out, *FLOATS)
    require_rank(a.self, 0, 8)
    require_shape(a.out, a.self.shape)


def softmax_of(x: np.ndarray, axis: int) -> np.ndarray:
    weights = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    return weights / weights.sum(axis, keepdims=True)


@aclnn("aclnnSoftmax(self: tensor, dim: int, out: tensor)", doc="CANN 8.3.RC1, aclnnSoftmax")
def softmax(a):
    x = np.atleast_1d(a.self.wide())
    a.out.put(softmax_of(x, a.dim).reshape(a.out.shape))


@softmax.limits
def _(a):
    _check_softmax(a, 0)


def _check_softmax(a, lowest_rank: int) -> None:
    require_dtype(a.self, *FLOATS, FLOAT64)
    require_dtype(a.out, *FLOATS, FLOAT64)
    require_rank(a.self, lowest_rank, 8)
    require_shape(a.out, a.self.shape)
    rank = max(a.self.ndim, 1)
    require(-rank <= a.dim < rank, f"dim: {a.dim}, allowed: {-rank} to {rank - 1}")


@aclnn("aclnnLogSoftmax(self: tensor, dim: int, out: tensor)", doc="CANN 8.3.RC1, aclnnLogSoftmax")
def log_softmax(a):
    x = a.self.wide()
    shifted = x - x.max(a.dim, keepdims=True, initial=-np.inf)
    a.out.put(shifted - np.log(np.exp(shifted).sum(a.dim, keepdims=True)))


@log_softmax.limits
def _(a):
    _check_softmax(a, 1)
