"""One block of Code2Wav's decoder in numpy: an upsampling and what follows it, tile by tile, on every core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ms_omni.kernels.host_threads import in_parallel, thread_parts
from ms_omni.kernels.numpy_conv import CausalConv, ResidualUnit, Snake, Upsampling, spans, tile_steps

LEAST_STEPS_A_THREAD = 512  # of the output: several times as many as a part computes again to find its tails

Part = tuple[int, int, int]  # number of a stream; start and end of its inputs


@dataclass
class BlockState:
    """The state of a stream in a block. last: last step of its input, (in, 1), None at the beginning. tails: of every
    convolution, (channels, steps)."""

    last: np.ndarray | None
    tails: list[np.ndarray]


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

    def new_state(self) -> BlockState:
        """Of a stream that has not begun."""
        return BlockState(None, [conv.new_state() for conv in self.convolutions])

    def __call__(
        self, x: np.ndarray, lengths: Sequence[int], states: Sequence[BlockState]
    ) -> tuple[np.ndarray, list[int]]:
        """x: (in, steps), the next ones of each stream side by side; states: brought up to date. (out, steps * rate),
        `rate` fewer at the beginning of a stream, and how many of each."""
        inputs = []
        for (start, end), state in zip(spans(lengths), states, strict=True):
            new = x[:, start:end]
            inputs.append(new if state.last is None else np.concatenate([state.last, new], axis=1))
            state.last = new[:, -1:].copy()
        made, rate = [each.shape[1] - 1 for each in inputs], self.upsampling.rate
        channels = self.head[1].weight.shape[0] if self.head else self.upsampling.weight.shape[1]
        out = np.empty((channels, sum(made) * rate), np.float32)
        outs = [out[:, start * rate : end * rate] for start, end in spans(made)]
        work = [_parts(made, *part) for part in thread_parts(sum(made), -(-LEAST_STEPS_A_THREAD // rate))]
        before = [state.tails for state in states]
        made_tails = in_parallel(lambda parts: self._make(inputs, outs, before, parts), work)
        for parts, tails in zip(work, made_tails, strict=True):
            for (row, _, end), kept in zip(parts, tails, strict=True):
                if end == made[row]:
                    states[row].tails = kept
        return out, [count * rate for count in made]

    def _make(
        self,
        inputs: Sequence[np.ndarray],
        outs: Sequence[np.ndarray],
        before: Sequence[list[np.ndarray]],
        parts: Sequence[Part],
    ) -> list[list[np.ndarray]]:
        """Writes the outputs of `parts`, whose inputs are counted without the first of each stream, and returns the
        tails behind them. A part that starts inside a stream computes some earlier steps again, so that its outputs do
        not see the zeros with which its tails begin."""
        rate = self.upsampling.rate
        early = [(row, max(0, start - -(-self.reach // rate)), end) for row, start, end in parts]
        tails = [[np.zeros_like(tail) if first else tail.copy() for tail in before[row]] for row, first, _ in early]
        for tile in _tiles(early, self.inputs_a_tile):
            seen = [inputs[early[number][0]][:, begin : stop + 1] for number, begin, stop in tile]
            steps = self.upsampling(np.concatenate(seen, axis=1), [each.shape[1] for each in seen])
            lengths = [(stop - begin) * rate for _, begin, stop in tile]
            kept = list(zip(*(tails[number] for number, _, _ in tile), strict=True))
            for unit, tails_of_unit in zip(self.units, kept, strict=False):  # the head has the last ones
                unit(steps, lengths, tails_of_unit)
            if self.head is not None:
                snake, conv = self.head
                steps = conv(steps, lengths, kept[-1], snake)
            for (number, begin, stop), (_, last) in zip(tile, spans(lengths), strict=True):
                row, start, _ = parts[number]
                if stop > (begin := max(begin, start)):
                    outs[row][:, begin * rate : stop * rate] = steps[:, last - (stop - begin) * rate : last]
        return tails


def _parts(lengths: Sequence[int], start: int, end: int) -> list[Part]:
    """The parts between `start` and `end` of streams that lie side by side."""
    return [
        (row, max(start, first) - first, min(end, last) - first)
        for row, (first, last) in enumerate(spans(lengths))
        if max(start, first) < min(end, last)
    ]


def _tiles(parts: Sequence[Part], most: int) -> Iterator[list[Part]]:
    """Splits the parts, in order, into tiles of `most` inputs. In a tile the first number is a part's, not a
    stream's."""
    lengths = [end - start for _, start, end in parts]
    for at in range(0, sum(lengths), most):
        yield [
            (number, parts[number][1] + start, parts[number][1] + end)
            for number, start, end in _parts(lengths, at, at + most)
        ]
