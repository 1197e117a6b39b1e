"""One block of Code2Wav's decoder in numpy: an upsampling and what follows it, tile by tile, on every core."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ms_omni.kernels.host_threads import in_parallel, shares
from ms_omni.kernels.numpy_conv import CausalConv, ResidualUnit, Snake, Upsampling, tile_steps

LEAST_STEPS_A_THREAD = 512  # of the output: several times what a part makes once more to find its tails


class BlockState:
    """What a block keeps of its streams: the last step of the input, and a tail for every convolution."""

    def __init__(self, last: np.ndarray | None, tails: list[np.ndarray]):
        """last: (batch, in, 1), None at the beginning of the streams; tails: (batch, channels, steps) each."""
        self.last, self.tails = last, tails


class DecoderBlock:
    """Upsampling, residual units, and in the last block an activation with a convolution to one channel."""

    def __init__(
        self, upsampling: Upsampling, units: Sequence[ResidualUnit], head: tuple[Snake, CausalConv] | None = None
    ):
        self.upsampling, self.units, self.head = upsampling, units, head
        self.convolutions = [unit.conv1 for unit in units] + ([head[1]] if head else [])
        self.reach = sum(conv.tail_steps for conv in self.convolutions)
        widest = max(conv.weight.shape[1] * conv.weight.shape[2] for conv in self.convolutions)
        self.inputs_a_tile = max(1, tile_steps(widest, 1) // upsampling.rate)

    def new_state(self, batch: int) -> BlockState:
        return BlockState(None, [conv.new_state(batch) for conv in self.convolutions])

    def __call__(self, x: np.ndarray, state: BlockState) -> np.ndarray:
        """x: (batch, in, steps), the next ones; state: brought up to date. (batch, out, steps * rate), `rate` fewer at
        the beginning."""
        batch, _, steps = x.shape
        x = x if state.last is None else np.concatenate([state.last, x], axis=2)
        state.last = x[:, :, -1:].copy()
        num_made, rate = x.shape[2] - 1, self.upsampling.rate
        channels = self.head[1].weight.shape[0] if self.head else self.upsampling.weight.shape[1]
        out = np.empty((batch, channels, num_made * rate), np.float32)
        parts = [
            (row, start, end)
            for row in range(batch)
            for start, end in shares(num_made, -(-LEAST_STEPS_A_THREAD // rate))
        ]
        ends = in_parallel(lambda part: self._part(x, out, state.tails, *part), parts)
        for (row, _, end), tails in zip(parts, ends, strict=True):
            if end == num_made:
                for kept, tail in zip(state.tails, tails, strict=True):
                    kept[row] = tail
        return out

    def _part(
        self, x: np.ndarray, out: np.ndarray, tails: list[np.ndarray], row: int, start: int, end: int
    ) -> list[np.ndarray]:
        """Writes the outputs of the inputs from `start` to `end`, counted without the first; the tails behind them.
        Those before `start` are found by beginning so much earlier that no output of this part sees the zeros there."""
        rate = self.upsampling.rate
        first = max(0, start - -(-self.reach // rate))
        tails = [tail[row].copy() if first == 0 else np.zeros_like(tail[row]) for tail in tails]
        for begin in range(first, end, self.inputs_a_tile):
            stop = min(begin + self.inputs_a_tile, end)
            tile = self.upsampling(x[row, :, begin : stop + 1])
            for unit, tail in zip(self.units, tails):
                unit(tile, tail)
            if self.head is not None:
                snake, conv = self.head
                tile = conv(tile, tails[-1], snake)
            skipped = max(start - begin, 0)
            if skipped < stop - begin:
                out[row, :, (begin + skipped) * rate : stop * rate] = tile[:, skipped * rate :]
        return tails
