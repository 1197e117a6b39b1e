"""Causal convolutions of a stream in numpy: each call goes on where the last one stopped.

Arrays are float32. What a convolution looks back at is its tail, an array that the caller keeps and each call brings up
to date: zeros at the beginning of a stream. A convolution is one matrix product for a tile of steps, which goes
through the activations around it together.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ms_omni.kernels.numpy_activations import snake_beta

# Values of a tile's columns, 16 MB: products of fewer are slower, and more of them are kept. The fewest steps of one.
COLUMN_VALUES, LEAST_STEPS = 1 << 22, 256


def tile_steps(channels: int, kernel: int) -> int:
    return max(LEAST_STEPS, COLUMN_VALUES // (channels * kernel))


class Snake:
    """x + sin(x exp(alpha))^2 / (exp(beta) + eps), the activation of BigVGAN (arXiv:2206.04658)."""

    def __init__(self, alpha: np.ndarray, beta: np.ndarray, eps: float):
        """alpha, beta: (channels,)."""
        self.frequency = np.exp(alpha)[:, None]
        self.magnitude = 1 / (np.exp(beta)[:, None] + np.float32(eps))

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """x: (..., channels, steps)."""
        out = np.empty(x.shape, np.float32) if out is None else out
        snake_beta(x, self.frequency, self.magnitude, out)
        return out


class CausalConv:
    """Sees a step and, `dilation` apart, those before it."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, dilation: int = 1):
        """weight: (out, in, kernel), kept as it is; bias: (out,)."""
        self.weight, self.bias, self.dilation = weight, bias[:, None], dilation
        self.tail_steps = (weight.shape[2] - 1) * dilation

    def new_state(self, batch: int) -> np.ndarray:
        return np.zeros((batch, self.weight.shape[1], self.tail_steps), np.float32)

    def __call__(self, x: np.ndarray, tail: np.ndarray, before: Snake | None = None) -> np.ndarray:
        """x: (in, steps) of one stream; tail: (in, tail_steps), changed. (out, steps), of `before`(x)."""
        channels, steps = x.shape
        out_channels, _, kernel = self.weight.shape
        seen = np.empty((channels, self.tail_steps + steps), np.float32)
        seen[:, : self.tail_steps] = tail
        if before is None:
            seen[:, self.tail_steps :] = x
        else:
            before(x, seen[:, self.tail_steps :])
        tail[...] = seen[:, steps:]
        if out_channels * kernel < channels:
            out = self._shifted_sum(seen, steps)
        elif kernel == 1:
            out = self.weight[:, :, 0] @ seen
        else:
            row, step = seen.strides
            windows = as_strided(seen, (channels, kernel, steps), (row, self.dilation * step, step))
            columns = np.ascontiguousarray(windows).reshape(channels * kernel, steps)
            out = self.weight.reshape(out_channels, -1) @ columns
        out += self.bias
        return out

    def _shifted_sum(self, seen: np.ndarray, steps: int) -> np.ndarray:
        """Few outputs: the product first, and then its kernel's rows moved together."""
        out_channels, channels, kernel = self.weight.shape
        rows = self.weight.transpose(2, 0, 1).reshape(-1, channels) @ seen
        rows = rows.reshape(kernel, out_channels, -1)
        out = rows[0, :, :steps].copy()
        for place in range(1, kernel):
            out += rows[place, :, place * self.dilation : place * self.dilation + steps]
        return out


class ResidualUnit:
    """x + conv2(snake2(conv1(snake1(x)))); conv2 has a kernel of 1."""

    def __init__(self, snake1: Snake, conv1: CausalConv, snake2: Snake, conv2: CausalConv):
        self.snake1, self.conv1, self.snake2, self.conv2 = snake1, conv1, snake2, conv2

    def __call__(self, x: np.ndarray, tail: np.ndarray) -> None:
        """x: (channels, steps) of one stream, changed; tail: conv1's, changed."""
        inner = self.conv1(x, tail, self.snake1)
        x += self.conv2.weight[:, :, 0] @ self.snake2(inner)
        x += self.conv2.bias


class Upsampling:
    """A transposed convolution with kernel 2 * rate, without the `rate` steps at either end: a step of the input makes
    `rate` steps of the output, out of itself and the step before it. The first step of a stream makes none."""

    def __init__(self, snake: Snake, weight: np.ndarray, bias: np.ndarray, rate: int):
        """snake: before it. weight: (in, out, 2 * rate), kept as it is; bias: (out,)."""
        if weight.shape[2] != 2 * rate:
            raise ValueError(f"a kernel of {weight.shape[2]} for a rate of {rate}: expected {2 * rate}")
        self.snake, self.weight, self.bias, self.rate = snake, weight, bias[:, None], rate

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x: (in, 1 + steps) of one stream, the one before them first. (out, steps * rate)."""
        channels, out_channels, kernel = self.weight.shape
        steps = x.shape[1] - 1
        spread = self.weight.reshape(channels, -1).T @ self.snake(x)
        spread = spread.reshape(out_channels, kernel, steps + 1)
        out = np.empty((out_channels, steps, self.rate), np.float32)
        np.add(spread[:, : self.rate, 1:], spread[:, self.rate :, :-1], out=out.transpose(0, 2, 1))
        out = out.reshape(out_channels, -1)
        out += self.bias
        return out


def strided_conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Every second place, with a padding that keeps the middle of the kernel inside. x: (in, height, width); weight:
    (out, in, k, k), k odd; bias: (out,). (out, ceil(height / 2), ceil(width / 2))."""
    channels, height, width = x.shape
    out_channels, _, kernel, _ = weight.shape
    pad = kernel // 2
    padded = np.zeros((channels, height + 2 * pad, width + 2 * pad), np.float32)
    padded[:, pad : pad + height, pad : pad + width] = x
    out_height, out_width = -(-height // 2), -(-width // 2)
    plane, row, step = padded.strides
    windows = as_strided(
        padded, (channels, kernel, kernel, out_height, out_width), (plane, row, step, 2 * row, 2 * step)
    )
    columns = np.ascontiguousarray(windows).reshape(-1, out_height * out_width)
    out = weight.reshape(out_channels, -1) @ columns
    out += bias[:, None]
    return out.reshape(out_channels, out_height, out_width)
