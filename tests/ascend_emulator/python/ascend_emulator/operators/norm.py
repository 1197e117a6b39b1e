"""Normalisation: aclnnRmsNorm, aclnnAddRmsNorm, aclnnLayerNorm, aclnnGroupNorm."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOATS,
    HALVES,
    DeviceTensor,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.refusal import NULL_POINTER, TILING_ERROR, require
from ascend_emulator.table import aclnn


def rms(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    """1 / root mean square, in float32, with the axes kept."""
    return 1 / np.sqrt(np.mean(np.square(x), axis=axes, keepdims=True, dtype=np.float32) + np.float32(epsilon))


@aclnn(
    "aclnnRmsNorm(x: tensor, gamma: tensor, epsilon: double, yOut: tensor, rstdOut: tensor)",
    doc="CANN 8.3.RC1, aclnnRmsNorm",
)
def rms_norm(a):
    x = a.x.wide()
    reciprocal = rms(x, _last(a.x, a.gamma), a.epsilon)
    a.yOut.put(x * reciprocal * a.gamma.wide())
    a.rstdOut.put(reciprocal)


# (x, gamma); the output is as x
_OF_RMS = {(FLOAT16, FLOAT32), (BFLOAT16, FLOAT32), (FLOAT16, FLOAT16), (BFLOAT16, BFLOAT16), (FLOAT32, FLOAT32)}


@rms_norm.limits
def _(a):
    for tensor in (a.x, a.gamma, a.yOut):
        require_dtype(tensor, *FLOATS)
    require(
        (a.x.dtype, a.gamma.dtype) in _OF_RMS,
        f"x {a.x.dtype} with gamma {a.gamma.dtype}: gamma must be of x's dtype or float32",
    )
    require_same_dtype(a.x, a.yOut)
    require_dtype(a.rstdOut, FLOAT32)
    require_rank(a.x, 1, 8)
    _check_gamma(a.x, a.gamma)
    require(a.gamma.size > 0, f"gamma: shape {a.gamma.shape}, an empty tensor is not allowed", TILING_ERROR)
    _tiled(a.yOut, a.x.shape)
    _tiled(a.rstdOut, _kept(a.x, a.gamma))


def _last(x: DeviceTensor, gamma: DeviceTensor) -> tuple[int, ...]:
    return tuple(range(x.ndim - gamma.ndim, x.ndim))


def _kept(x: DeviceTensor, gamma: DeviceTensor) -> tuple[int, ...]:
    """The shape of x with 1 for the axes that are normalised."""
    return (*x.shape[: x.ndim - gamma.ndim], *[1] * gamma.ndim)


def _check_gamma(x: DeviceTensor, gamma: DeviceTensor) -> None:
    require(
        1 <= gamma.ndim <= x.ndim and gamma.shape == x.shape[x.ndim - gamma.ndim :],
        f"gamma: shape {gamma.shape}, expected the last dimensions of {x.name}, {x.shape}",
        TILING_ERROR,
    )


def _tiled(tensor: DeviceTensor, shape: tuple[int, ...]) -> None:
    require(tensor.shape == shape, f"{tensor.name}: shape {tensor.shape}, expected {shape}", TILING_ERROR)


@aclnn(
    "aclnnAddRmsNorm(x1: tensor, x2: tensor, gamma: tensor, epsilon: double, yOut: tensor, rstdOut: tensor?, "
    "xOut: tensor?)",
    doc="CANN 8.3.RC1, aclnnAddRmsNorm",
)
def add_rms_norm(a):
    """The float32 sum is normalised; xOut is that sum, rounded."""
    total = np.asarray(a.x1.wide() + a.x2.wide(), np.float32)
    gamma = a.gamma.wide()
    if a.rstdOut is None:  # gamma is (1, last dimension)
        reciprocal = rms(total, (-1,), a.epsilon)
        gamma = gamma.reshape(-1)
    else:
        reciprocal = rms(total, _last(a.x1, a.gamma), a.epsilon)
        a.rstdOut.put(reciprocal)
    a.yOut.put(total * reciprocal * gamma)
    if a.xOut is not None:
        a.xOut.put(total)


@add_rms_norm.limits
def _(a):
    require_dtype(a.x1, *FLOATS)
    require_same_dtype(a.x1, a.x2, a.gamma, a.yOut)
    require_rank(a.x1, 1, 8)
    require_shape(a.x2, a.x1.shape)
    require_shape(a.yOut, a.x1.shape)
    require(a.epsilon >= 0, f"epsilon: {a.epsilon}, allowed: at least 0")
    if a.rstdOut is None:
        require(a.x1.dtype in HALVES, f"rstdOut: a null pointer, which is not allowed for {a.x1.dtype}")
        require_shape(a.gamma, (1, a.x1.shape[-1]))
    else:
        require(a.xOut is not None, "xOut: a null pointer, although rstdOut is given", NULL_POINTER)
        require_dtype(a.rstdOut, FLOAT32)
        require(
            1 <= a.gamma.ndim <= a.x1.ndim and a.gamma.shape == a.x1.shape[a.x1.ndim - a.gamma.ndim :],
            f"gamma: shape {a.gamma.shape}, expected the last dimensions of x1, {a.x1.shape}",
        )
        require_shape(a.rstdOut, _kept(a.x1, a.gamma))
    if a.xOut is not None:
        require_same_dtype(a.x1, a.xOut)
        require_shape(a.xOut, a.x1.shape)


def standardised(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values, mean, 1 / standard deviation) in float32, with the axes kept."""
    mean = np.mean(x, axis=axes, keepdims=True, dtype=np.float32)
    variance = np.mean(np.square(x - mean), axis=axes, keepdims=True, dtype=np.float32)
    reciprocal = 1 / np.sqrt(variance + np.float32(epsilon))
    return (x - mean) * reciprocal, mean, reciprocal


@aclnn(
    "aclnnLayerNorm(input: tensor, normalizedShape: ints, weightOptional: tensor?, biasOptional: tensor?, eps: double, "
    "out: tensor, meanOutOptional: tensor?, rstdOutOptional: tensor?)",
    doc="CANN 8.3.RC1, aclnnLayerNorm",
)
def layer_norm(a):
    if a.input.size == 0:
        return
    axes = tuple(range(a.input.ndim - len(a.normalizedShape), a.input.ndim))
    made, mean, reciprocal = standardised(a.input.wide(), axes, a.eps)
    if a.weightOptional is not None:
        made = made * a.weightOptional.wide()
    if a.biasOptional is not None:
        made = made + a.biasOptional.wide()
    a.out.put(made)
    for tensor, values in ((a.meanOutOptional, mean), (a.rstdOutOptional, reciprocal)):
        if tensor is not None:
            tensor.put(values)


@layer_norm.limits
def _(a):
    require_dtype(a.input, *FLOATS)
    require_same_dtype(a.input, a.out)
    require_rank(a.input, 1, 8)
    require_shape(a.out, a.input.shape)
    shape = tuple(a.normalizedShape)
    require(len(shape) >= 1, "normalizedShape: empty, allowed: at least 1 dimension")
    require(
        len(shape) <= a.input.ndim and a.input.shape[a.input.ndim - len(shape) :] == shape,
        f"normalizedShape: {shape}, expected the last dimensions of input, {a.input.shape}",
    )
    given = [tensor for tensor in (a.weightOptional, a.biasOptional) if tensor is not None]
    for tensor in given:
        require_dtype(tensor, a.input.dtype, FLOAT32)
        require_shape(tensor, shape)
    if len(given) == 2:
        require_same_dtype(*given)
    kept = (*a.input.shape[: a.input.ndim - len(shape)], *[1] * len(shape))
    for tensor in (a.meanOutOptional, a.rstdOutOptional):
        if tensor is not None:
            # The document asks for the input's dtype; the operator's source converts to any of the three
            require_dtype(tensor, *FLOATS)
            require_shape(tensor, kept)


@aclnn(
    "aclnnGroupNorm(self: tensor, gamma: tensor?, beta: tensor?, N: int, C: int, HxW: int, group: int, eps: double, "
    "out: tensor, meanOut: tensor, rstdOut: tensor)",
    doc="CANN 8.3.RC1, aclnnGroupNorm",
)
def group_norm(a):
    x = np.asarray(a.self.wide(), np.float32).reshape(a.N, a.group, -1)
    if x.size == 0:
        return
    made, mean, reciprocal = standardised(x, (2,), a.eps)
    made = made.reshape(a.N, a.C, a.HxW)
    if a.gamma is not None:
        made = made * a.gamma.wide()[:, None]
    if a.beta is not None:
        made = made + a.beta.wide()[:, None]
    a.out.put(made.reshape(a.out.shape))
    a.meanOut.put(mean[..., 0])
    a.rstdOut.put(reciprocal[..., 0])


@group_norm.limits
def _(a):
    require_dtype(a.self, *FLOATS)
    given = [tensor for tensor in (a.gamma, a.beta) if tensor is not None]
    require_same_dtype(a.self, *given, a.out, a.meanOut, a.rstdOut)
    require_rank(a.self, 2, 8)
    require(a.group > 0 and a.C % a.group == 0, f"group: {a.group}, must be more than 0 and divide C = {a.C}")
    require(a.eps > 0, f"eps: {a.eps}, allowed: more than 0")
    rest = int(np.prod(a.self.shape[2:]))
    require(
        (a.N, a.C, a.HxW) == (*a.self.shape[:2], rest),
        f"N, C, HxW: {a.N}, {a.C}, {a.HxW}, expected those of self, {(*a.self.shape[:2], rest)}",
    )
    for tensor in given:
        require_shape(tensor, (a.C,))
    require_shape(a.out, a.self.shape)
    for tensor in (a.meanOut, a.rstdOut):
        require_shape(tensor, (a.N, a.group))
