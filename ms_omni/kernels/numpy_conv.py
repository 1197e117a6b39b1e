"""Causal convolutions of streams in numpy: each call continues where the last one stopped.

Arrays are float32. The steps of several streams lie side by side; `lengths` says how many steps each has. The tail of a
stream holds the earlier steps that a convolution looks back at. The caller keeps it, each call updates it, and it is
zeros at the beginning. A convolution is one matrix product for a tile of steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ms_omni.kernels.matmul import matmul
from ms_omni.kernels.numpy_activations import snake_beta

# Values of a tile's columns, 16 MB: products of fewer are slower. And the fewest steps of a tile.
COLUMN_VALUES, LEAST_STEPS = 1 << 22, 256


def tile_steps(channels: int, kernel: int) -> int:
    """How many steps of so many channels a tile has, for a convolution with this kernel."""
    return max(LEAST_STEPS, COLUMN_VALUES // (channels * kernel))


def spans(lengths: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(start, end) of each stream; streams lie side by side."""
    return pairwise(accumulate(lengths, initial=0))


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
    """A convolution over a step and earlier ones, `dilation` apart."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, dilation: int = 1):
        """weight: (out, in, kernel), not copied. bias: (out,)."""
        self.weight, self.bias, self.dilation = weight, bias[:, None], dilation
        self.tail_steps = (weight.shape[2] - 1) * dilation

    def new_state(self) -> np.ndarray:
        """The tail of a stream that has not begun, (in, tail_steps)."""
        return np.zeros((self.weight.shape[1], self.tail_steps), np.float32)

    def __call__(
        self, x: np.ndarray, lengths: Sequence[int], tails: Sequence[np.ndarray], before: Snake | None = None
    ) -> np.ndarray:
        """x: (in, steps); tails: (in, tail_steps) of each stream, changed. (out, steps), of `before`(x)."""
        channels, steps = x.shape
        out_channels, _, kernel = self.weight.shape
        seen = np.empty((channels, len(lengths) * self.tail_steps + steps), np.float32)
        rows = [seen[:, start:end] for start, end in spans(self.tail_steps + length for length in lengths)]
        for row, tail, (start, end) in zip(rows, tails, spans(lengths), strict=True):
            row[:, : self.tail_steps] = tail
            if before is None:
                row[:, self.tail_steps :] = x[:, start:end]
            else:
                before(x[:, start:end], row[:, self.tail_steps :])
            tail[...] = row[:, end - start :]
        if out_channels * kernel < channels:
            out = self._shifted_sum(seen, lengths)
        elif kernel == 1:
            out = matmul(self.weight[:, :, 0], seen)
        else:
            columns = np.empty((channels, kernel, steps), np.float32)
            for row, (start, end) in zip(rows, spans(lengths), strict=True):
                strides = (seen.strides[0], self.dilation * seen.itemsize, seen.itemsize)
                columns[:, :, start:end] = as_strided(row, (channels, kernel, end - start), strides)
            out = matmul(self.weight.reshape(out_channels, -1), columns.reshape(channels * kernel, steps))
        out += self.bias
        return out

    def _shifted_sum(self, seen: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
        """For few output channels: one product for all kernel places, then the shifted results are summed."""
        out_channels, channels, kernel = self.weight.shape
        parts = matmul(self.weight.transpose(2, 0, 1).reshape(-1, channels), seen)
        parts = parts.reshape(kernel, out_channels, -1)
        out = np.empty((out_channels, sum(lengths)), np.float32)
        firsts = [start for start, _ in spans(self.tail_steps + length for length in lengths)]
        for first, (start, end) in zip(firsts, spans(lengths), strict=True):
            out[:, start:end] = parts[0, :, first : first + end - start]
            for place in range(1, kernel):
                at = first + place * self.dilation
                out[:, start:end] += parts[place, :, at : at + end - start]
        return out


class ResidualUnit:
    """x + conv2(snake2(conv1(snake1(x)))); conv2 has a kernel of 1."""

    def __init__(self, snake1: Snake, conv1: CausalConv, snake2: Snake, conv2: CausalConv):
        self.snake1, self.conv1, self.snake2, self.conv2 = snake1, conv1, snake2, conv2

    def __call__(self, x: np.ndarray, lengths: Sequence[int], tails: Sequence[np.ndarray]) -> None:
        """x: (channels, steps), changed; tails: conv1's, changed."""
        inner = self.conv1(x, lengths, tails, self.snake1)
        x += matmul(self.conv2.weight[:, :, 0], self.snake2(inner))
        x += self.conv2.bias


class Upsampling:
    """A transposed convolution with kernel 2 * rate, without the `rate` steps at either end: `rate` output steps come
    from an input step and the step before it. The first step of a stream gives none."""

    def __init__(self, snake: Snake, weight: np.ndarray, bias: np.ndarray, rate: int):
        """snake: the activation before it. weight: (in, out, 2 * rate), not copied. bias: (out,)."""
        if weight.shape[2] != 2 * rate:
            raise ValueError(f"a kernel of {weight.shape[2]} for a rate of {rate}: expected {2 * rate}")
        self.snake, self.weight, self.bias, self.rate = snake, weight, bias[:, None], rate

    def __call__(self, x: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
        """x: (in, steps), in `lengths` with the step before those of each stream. (out, rate * (steps - streams))."""
        channels, out_channels, kernel = self.weight.shape
        spread = matmul(self.weight.reshape(channels, -1).T, self.snake(x))
        spread = spread.reshape(out_channels, kernel, -1)
        out = np.empty((out_channels, sum(lengths) - len(lengths), self.rate), np.float32)
        made = spans(length - 1 for length in lengths)
        for (first, last), (start, end) in zip(spans(lengths), made, strict=True):
            here = out[:, start:end].transpose(0, 2, 1)
            np.add(spread[:, : self.rate, first + 1 : last], spread[:, self.rate :, first : last - 1], out=here)
        out = out.reshape(out_channels, -1)
        out += self.bias
        return out


def strided_conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A convolution with stride 2 and padding k // 2. x: (in, height, width). weight: (out, in, k, k), k odd. bias:
    (out,). (out, ceil(height / 2), ceil(width / 2))."""
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
    out = matmul(weight.reshape(out_channels, -1), columns)
    out += bias[:, None]
    return out.reshape(out_channels, out_height, out_width)
