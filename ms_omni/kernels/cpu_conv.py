"""Convolutions and transposed convolutions on the CPU, made of MindSpore's older Conv2D and Conv3D kernels."""

from __future__ import annotations

from functools import cache
from typing import Any

from mindspore import Tensor, mint, ops


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """A 2-d convolution of height 1."""
    sizes = (1, *_sizes(stride, 1)), (0, *_sizes(padding, 1)), (1, *_sizes(dilation, 1))
    return conv2d(input.unsqueeze(-2), weight.unsqueeze(-2), bias, *sizes, groups).squeeze(-2)


def conv2d(input: Tensor, weight: Tensor, *settings: Any) -> Tensor:
    return _conv(2, input, weight, *settings)


def conv3d(input: Tensor, weight: Tensor, *settings: Any) -> Tensor:
    return _conv(3, input, weight, *settings)


def _conv(
    num_dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """input: (batch, in, *sizes)."""
    kernel, padding = weight.shape[2:], _sizes(padding, num_dims)
    if input.shape[2:] == kernel and groups == 1 and not any(padding):
        out = _whole_kernel(input, weight)
    else:
        pads = tuple(size for size in padding for _ in range(2))
        stride, dilation = _sizes(stride, num_dims), _sizes(dilation, num_dims)
        out = _conv_kernel(num_dims, weight.shape[0], kernel, stride, pads, dilation, groups)(input, weight)
    return out if bias is None else out + bias.reshape(-1, *[1] * num_dims)


def _whole_kernel(input: Tensor, weight: Tensor) -> Tensor:
    """A kernel as large as the input is one matrix product: the patch embedding, thousands of times faster so."""
    flat = mint.matmul(input.reshape(input.shape[0], -1), weight.reshape(weight.shape[0], -1).T)
    return flat.reshape(*flat.shape, *[1] * (input.ndim - 2))


@cache
def _conv_kernel(num_dims: int, out: int, kernel: Any, stride: Any, pads: Any, dilation: Any, groups: int) -> Any:
    make = ops.Conv2D if num_dims == 2 else ops.Conv3D
    return make(out, kernel, pad_mode="pad", pad=pads, stride=stride, dilation=dilation, group=groups)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The gradient of conv2d with regard to its input, (batch, in, height, width). weight: (in, out / groups, height,
    width)."""
    stride, padding, dilation = _sizes(stride, 2), _sizes(padding, 2), _sizes(dilation, 2)
    extra, kernel = _sizes(output_padding, 2), weight.shape[2:]
    size = [
        (input.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1) + extra[i] + 1
        for i in range(2)
    ]
    call = _transposed_kernel(input.shape[1], kernel, stride, padding, dilation, groups)
    out = call(input, weight, (input.shape[0], weight.shape[1] * groups, *size))
    return out if bias is None else out + bias.reshape(-1, 1, 1)


@cache
def _transposed_kernel(channels: int, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    pads = (padding[0], padding[0], padding[1], padding[1])
    return ops.Conv2DTranspose(
        channels, kernel, pad_mode="pad", pad=pads, stride=stride, dilation=dilation, group=groups
    )


def _sizes(value: Any, count: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * count if len(values) == 1 else values
