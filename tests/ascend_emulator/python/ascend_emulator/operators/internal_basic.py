"""Internal kernels of MindSpore that compute value by value, or move values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import erf

from ascend_emulator.kernel_dtypes import require_registered
from ascend_emulator.operators.activation import sigmoid, softmax_of
from ascend_emulator.refusal import NOT_EMULATED, require
from ascend_emulator.table import internal

DOC = "MindSpore 2.7.1, ms_kernels_internal"


def _binary(name: str, function: Callable) -> None:
    @internal(name, doc=DOC)
    def compute(a):
        a.outputs[0].put(function(a.inputs[0].wide(), a.inputs[1].wide()))

    @compute.limits
    def _(a):
        require_registered(name, a.inputs[:2], a.outputs[:1])
        try:
            shape = np.broadcast_shapes(a.inputs[0].shape, a.inputs[1].shape)
        except ValueError:
            shape = None
        require(
            shape == a.outputs[0].shape,
            f"shapes {a.inputs[0].shape} and {a.inputs[1].shape} do not broadcast to {a.outputs[0].shape}",
        )


for _name, _function in {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "RealDiv": np.true_divide,
    "NotEqual": np.not_equal,
}.items():
    _binary(_name, _function)


def _unary(name: str, function: Callable) -> None:
    @internal(name, doc=DOC)
    def compute(a):
        a.outputs[0].put(function(a.inputs[0].wide()))

    @compute.limits
    def _(a):
        require_registered(name, a.inputs[:1], a.outputs[:1])
        _same_shape(a)


def _same_shape(a) -> None:
    given, made = a.inputs[0].shape, a.outputs[0].shape
    require(given == made, f"output 0: shape {made}, expected that of input 0, {given}")


for _name, _function in {
    "Swish": lambda x: x * sigmoid(x),
    "GeLU": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(np.float32(2)))),
    "FastGeLU": lambda x: x * sigmoid(np.float32(1.702) * x),
    "LogicalNot": lambda x: x == 0,
}.items():
    _unary(_name, _function)


@internal("Cast", doc=DOC)
def cast(a):
    a.outputs[0].put(a.inputs[0].array)


@cast.limits
def _(a):
    require_registered("Cast", a.inputs[:1], a.outputs[:1])
    _same_shape(a)


@internal("SwiGLU", doc=DOC)
def swiglu(a):
    gate, up = np.split(a.inputs[0].wide(), 2, axis=int(a.attributes["axis"]))
    a.outputs[0].put((gate * sigmoid(gate) * up).reshape(a.outputs[0].shape))


@swiglu.limits
def _(a):
    require_registered("SwiGLU", a.inputs[:1], a.outputs[:1])
    shape, axis = a.inputs[0].shape, int(a.attributes["axis"])
    require(-len(shape) <= axis < len(shape), f"axis: {axis}, the input has shape {shape}")
    require(shape[axis] % 2 == 0, f"input 0: shape {shape}, dimension {axis} must be even")
    require(
        a.outputs[0].size * 2 == a.inputs[0].size, f"output 0: shape {a.outputs[0].shape}, expected half of {shape}"
    )


@internal("Softmax", doc=DOC)
def softmax(a):
    a.outputs[0].put(softmax_of(a.inputs[0].wide(), a.attributes["axes"][0]))


@softmax.limits
def _(a):
    require_registered("Softmax", a.inputs[:1], a.outputs[:1])
    require(len(a.attributes["axes"]) == 1, f"axes: {a.attributes['axes']}, allowed: one axis")
    _axes_within(a)
    _same_shape(a)


def _axes_within(a) -> None:
    rank = a.inputs[0].ndim
    for axis in a.attributes["axes"]:
        require(-rank <= axis < rank, f"axes: {a.attributes['axes']}, the input has {rank} dimensions")


@internal("ReduceSum", doc=DOC)
def reduce_sum(a):
    made = np.sum(a.inputs[0].wide(), axis=tuple(a.attributes["axes"]) or None, dtype=np.float32, keepdims=True)
    a.outputs[0].put(made.reshape(a.outputs[0].shape))


@reduce_sum.limits
def _(a):
    require_registered("ReduceSum", a.inputs[:1], a.outputs[:1])
    _axes_within(a)


@internal("Transpose", doc=DOC)
def transpose(a):
    a.outputs[0].put(np.transpose(a.inputs[0].array, a.attributes["axes"]).reshape(a.outputs[0].shape))


@transpose.limits
def _(a):
    require_registered("Transpose", a.inputs[:1], a.outputs[:1])
    axes, rank = a.attributes["axes"], a.inputs[0].ndim
    require(
        sorted(axis % rank for axis in axes) == list(range(rank)), f"axes: {axes} are no order of {rank} dimensions"
    )


@internal("Gather", doc=DOC)
def gather(a):
    axis, indices = a.attributes["axes"][0], a.inputs[1].array
    size = a.inputs[0].shape[axis]
    # Device memory, so asked here
    require(
        indices.size == 0 or (indices.min() >= 0 and indices.max() < size),
        f"input 1: indices outside 0 to {size - 1}: {indices.reshape(-1)[:8]}",
    )
    a.outputs[0].put(np.take(a.inputs[0].array, indices, axis=axis).reshape(a.outputs[0].shape))


@gather.limits
def _(a):
    require_registered("Gather", a.inputs[:2], a.outputs[:1])
    require(len(a.attributes["axes"]) == 1, f"axes: {a.attributes['axes']}, allowed: one axis")
    _axes_within(a)
    require(not a.attributes["batch_dims"], "batch_dims is not emulated", NOT_EMULATED)


@internal("Split", doc=DOC)
def split(a):
    axis, begin = int(a.attributes["dim"]), 0
    for out, width in zip(a.outputs, a.attributes["sizes"], strict=True):
        out.put(np.take(a.inputs[0].array, range(begin, begin + width), axis=axis).reshape(out.shape))
        begin += width


@split.limits
def _(a):
    for out in a.outputs:
        require(a.inputs[0].dtype.itemsize == 2 and out.dtype == a.inputs[0].dtype, f"{out.name}: dtype {out.dtype}")
    axis, sizes = int(a.attributes["dim"]), a.attributes["sizes"]
    shape = a.inputs[0].shape
    require(-len(shape) <= axis < len(shape), f"dim: {axis}, the input has shape {shape}")
    require(sum(sizes) == shape[axis], f"sizes: {sizes}, expected the sum {shape[axis]}")
    require(len(sizes) == len(a.outputs), f"sizes: {sizes}, there are {len(a.outputs)} outputs")
