"""Convolution in one, two and three dimensions, plain and transposed: aclnnConvolution."""

from __future__ import annotations

import itertools
import math

import numpy as np

from ascend_emulator.cube import check_math_type, computed_dtype, cube_input
from ascend_emulator.device_tensor import (
    FLOAT32,
    FLOATS,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

FORMAT_OF = {3: "NCL", 4: "NCHW", 5: "NCDHW"}
MANY_PLACES = 32  # kernels of more places are gathered into one product, others are one product a place


@aclnn(
    "aclnnConvolution(input: tensor, weight: tensor, bias: tensor?, stride: ints, padding: ints, dilation: ints, "
    "transposed: bool, outputPadding: ints?, groups: int, output: tensor, cubeMathType: int8)",
    doc="CANN 8.3.RC1, aclnnConvolution",
)
def convolution(a):
    if a.output.size == 0:
        return
    computed = FLOAT32 if FLOAT32 in (a.input.dtype, a.weight.dtype) else a.input.dtype
    x, weight = (cube_input(tensor, a.cubeMathType, computed) for tensor in (a.input, a.weight))
    made = (_transposed if a.transposed else _plain)(a, x, weight)
    if a.bias is not None:
        made += np.asarray(a.bias.wide(), np.float32).reshape(-1, *[1] * (a.input.ndim - 2))
    a.output.put(made)


def _plain(a, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    x = np.pad(x, [(0, 0), (0, 0), *_pads(a)])
    groups, sizes = a.groups, a.output.shape[2:]
    batch, outputs = a.output.shape[:2]
    x = x.reshape(batch, groups, -1, *x.shape[2:])
    weight = weight.reshape(groups, outputs // groups, *weight.shape[1:])
    if math.prod(weight.shape[3:]) > MANY_PLACES:
        return _gathered(a, x, weight).reshape(a.output.shape)
    made = np.zeros((batch, groups, outputs // groups, math.prod(sizes)), np.float32)
    for place in itertools.product(*map(range, weight.shape[3:])):
        at = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, a.dilation, sizes, a.stride, strict=True)
        )
        part = x[(slice(None), slice(None), slice(None), *at)].reshape(batch, groups, x.shape[2], -1)
        one = _at(weight, place)
        made += one[..., 0, None] * part if x.shape[2] == 1 else one @ part
    return made.reshape(a.output.shape)


def _gathered(a, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """All places of the kernel in one product: columns of (channels of a group * places)."""
    axes, sizes = tuple(range(3, x.ndim)), a.output.shape[2:]
    spans = [(k - 1) * d + 1 for k, d in zip(weight.shape[3:], a.dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(x, spans, axes)
    steps = [slice(None, (n - 1) * s + 1, s) for n, s in zip(sizes, a.stride, strict=True)]
    inside = [slice(None, None, d) for d in a.dilation]
    windows = windows[(slice(None), slice(None), slice(None), *steps, *inside)]
    count = len(sizes)
    order = (0, 1, 2, *range(3 + count, 3 + 2 * count), *range(3, 3 + count))
    columns = windows.transpose(order).reshape(*x.shape[:2], -1, math.prod(sizes))
    return weight.reshape(*weight.shape[:2], -1) @ columns


def _transposed(a, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each input value adds the kernel, scaled, at its place times the stride; then the padding is cut off."""
    groups, batch, sizes = a.groups, x.shape[0], x.shape[2:]
    pads = _pads(a)
    full = tuple(n + sum(pad) for n, pad in zip(a.output.shape[2:], pads, strict=True))
    per_group = weight.shape[1]
    made = np.zeros((batch, groups, per_group, *full), np.float32)
    flat = x.reshape(batch, groups, -1, math.prod(sizes))
    weight = weight.reshape(groups, -1, *weight.shape[1:])
    for place in itertools.product(*map(range, weight.shape[3:])):
        at = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, a.dilation, sizes, a.stride, strict=True)
        )
        one = _at(weight, place).swapaxes(1, 2)
        part = (one @ flat).reshape(batch, groups, per_group, *sizes)
        made[(slice(None), slice(None), slice(None), *at)] += part
    kept = tuple(slice(before, before + n) for (before, _), n in zip(pads, a.output.shape[2:], strict=True))
    return made[(slice(None), slice(None), slice(None), *kept)].reshape(a.output.shape)


def _at(weight: np.ndarray, place: tuple[int, ...]) -> np.ndarray:
    """The kernel's values at one place, without gaps: numpy multiplies matrices with gaps twenty times slower."""
    return np.ascontiguousarray(weight[(slice(None), slice(None), slice(None), *place)])


def _pads(a) -> list[tuple[int, int]]:
    """(before, after) of each axis. A list of twice as many numbers as axes has both for each axis in turn."""
    count, given = a.input.ndim - 2, a.padding
    if len(given) == count:
        return [(pad, pad) for pad in given]
    return [(given[2 * i], given[2 * i + 1]) for i in range(count)]


def _output_padding(a) -> list[int]:
    return a.outputPadding or [0] * (a.input.ndim - 2)


@convolution.limits
def _(a):
    require_rank(a.input, 3, 5)
    count = a.input.ndim - 2
    for tensor in (a.weight, a.output):
        require_rank(tensor, a.input.ndim)
    for tensor in (a.input, a.weight, a.output):
        form = FORMAT_OF[tensor.ndim]
        require(
            tensor.format == form, f"{tensor.name}: format {tensor.format}, expected {form} for shape {tensor.shape}"
        )
    _check_dtypes(a)
    require(1 <= a.groups <= 65535, f"groups: {a.groups}, allowed: 1 to 65535")
    _check_lists(a, count)
    _check_channels(a)
    for tensor in (a.input, a.weight, *([a.bias] if a.bias is not None else [])):
        require(max(tensor.shape) <= 1000000, f"{tensor.name}: shape {tensor.shape}, allowed: at most 1000000 an axis")
    _check_ranges(a, count)
    require_shape(a.output, _output_shape(a))


def _check_dtypes(a) -> None:
    computed = computed_dtype(a.input, a.weight)
    require(a.cubeMathType or computed != FLOAT32, "cubeMathType: 0 (KEEP_DTYPE) is not allowed for float32")
    check_math_type(a.cubeMathType, computed, half_allows_hf32=True)
    require_dtype(a.output, *FLOATS)
    if a.transposed:
        require_same_dtype(a.input, a.output)
    if a.bias is not None:
        require_same_dtype(a.input, a.bias)


def _check_lists(a, count: int) -> None:
    both = {1: (1, 2), 2: (2, 4), 3: (3,)}[count]
    if a.transposed and count == 1:
        both = (1,)
    for name, allowed, lowest in (("stride", (count,), 1), ("padding", both, 0), ("dilation", (count,), 1)):
        values = getattr(a, name)
        require(len(values) in allowed, f"{name}: {values}, allowed: {' or '.join(map(str, allowed))} numbers")
        require(all(value >= lowest for value in values), f"{name}: {values}, allowed: at least {lowest}")
    if a.transposed:
        more = _output_padding(a)
        require(len(more) == count, f"outputPadding: {more}, allowed: {count} numbers")
        for value, step, spread in zip(more, a.stride, a.dilation, strict=True):
            most = max(step, spread)
            require(0 <= value < most, f"outputPadding: {more}, allowed: 0 to {most - 1}, less than stride or dilation")


def _check_channels(a) -> None:
    """Weights are (outputs, inputs / groups, ...), transposed (inputs, outputs / groups, ...)."""
    inputs = a.weight.shape[0] if a.transposed else a.weight.shape[1] * a.groups
    outputs = a.weight.shape[1] * a.groups if a.transposed else a.weight.shape[0]
    require(
        a.input.shape[1] == inputs,
        f"input: {a.input.shape[1]} channels, weight {a.weight.shape} with {a.groups} groups expects {inputs}",
    )
    split = a.weight.shape[0]
    require(
        split % a.groups == 0, f"weight: shape {a.weight.shape}, the first dimension must be a multiple of {a.groups}"
    )
    if a.bias is not None:
        require_rank(a.bias, 1)
        require_shape(a.bias, (outputs,))


def _check_ranges(a, count: int) -> None:
    """For A2 and A3 cards. H and W are the last two axes."""
    flat = a.weight.shape[2:][-2:]
    pads = [pad for pair in _pads(a)[-2:] for pad in pair]
    if a.transposed:
        _within("weight", flat, 1, 255)
        _within("dilation", a.dilation, 1, 255)
        if count == 3:
            _within("stride", a.stride[1:], 1, 63)
            _within("padding", pads, 0, 255)
        return
    _within("padding", pads, 0, 255)
    if count == 3:
        _within("weight", flat, 1, 511)
        _within("stride", a.stride[1:], 1, 63)
        _within("dilation", a.dilation[1:], 1, 255)


def _within(name: str, values, lowest: int, highest: int) -> None:
    require(all(lowest <= v <= highest for v in values), f"{name}: {list(values)}, allowed: {lowest} to {highest}")


def _output_shape(a) -> tuple[int, ...]:
    spans = [(k - 1) * d + 1 for k, d in zip(a.weight.shape[2:], a.dilation, strict=True)]
    sizes = []
    axes = zip(a.input.shape[2:], spans, a.stride, _pads(a), _output_padding(a), strict=True)
    for n, span, step, pad, more in axes:
        if a.transposed:
            sizes.append((n - 1) * step - sum(pad) + span + more)
        else:
            require(n + sum(pad) >= span, f"input: {n} with padding {pad} is less than the kernel's span {span}")
            sizes.append((n + sum(pad) - span) // step + 1)
    outputs = a.weight.shape[1] * a.groups if a.transposed else a.weight.shape[0]
    return (a.input.shape[0], outputs, *sizes)
