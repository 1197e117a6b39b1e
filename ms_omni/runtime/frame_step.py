"""The tokens of a frame through a decoder, one after the other in one graph: the code predictor, which sees nothing of
other frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Tensor, nn, ops

from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.token_step import TokenStep


def frame_cache(decoder: StackedDecoder, num_rows: int, num_tokens: int, name: str) -> PagedKVCache | None:
    """What the FrameSteps of so many rows share: a block for each row, in numpy; by operators nothing."""
    return decoder.new_cache(num_rows + 1, name, num_tokens) if decoder.in_numpy else None


class FrameStep(nn.Cell):
    """A decoder at work on frames. Its methods are traced into the graphs of whoever calls them.

    What earlier tokens of a frame left is, by operators, in tensors of the graph: PagedAttention would take the lengths
    of another decoder. In numpy it is in a cache, a block a row."""

    def __init__(
        self, decoder: StackedDecoder, num_rows: int, num_tokens: int, graph_name: str, cache: PagedKVCache | None
    ):
        """num_tokens: of a frame. graph_name: of the graph that it is for. cache: of `frame_cache`."""
        super().__init__()
        self.decoder, self.ops, self.num_layers, self.eps = decoder, decoder.ops, decoder.num_layers, decoder.eps
        self.in_numpy = decoder.in_numpy
        places = np.arange(num_tokens)[:, None].repeat(num_rows, 1)
        if cache is not None:
            self.step: Any = TokenStep(decoder, cache, graph_name, num_rows, 1)
            self.blocks = Tensor(np.arange(1, num_rows + 1, dtype=np.int32)[:, None])
            self.positions = tuple(Tensor(row.astype(np.float32)) for row in places)
            self.lengths = tuple(Tensor((row + 1).astype(np.int32)) for row in places)
            self.kernel_numbers = self.step.kernel_numbers
        else:
            angles = [decoder.spec.angles(row[:1])[0] for row in places]  # of all rows
            self.cos = tuple(Tensor(np.cos(angle), decoder.dtype) for angle in angles)
            self.sin = tuple(Tensor(np.sin(angle), decoder.dtype) for angle in angles)
            self.kernel_numbers = ()

    def start(self, block_tables: Tensor) -> tuple[Any, ...]:
        """What the first token of a frame is given as `past`. block_tables: int32 (B, max_blocks), of the decoder whose
        frames these are: a row whose first block is 0 is nobody's."""
        past: Any = ()
        if self.in_numpy:
            past = (self.blocks * ops.minimum(block_tables[:, :1], 1),)
        return past

    def decode(self, x: Tensor, place: int, past: tuple[Any, ...], gathered: tuple[Any, ...]) -> Any:
        """x: (B, hidden), token number `place` of each row's frame. past: of the token before it. gathered: of
        `StackedDecoder.gather`. Returns the normed hidden states, (B, hidden), and the next token's `past`."""
        if self.in_numpy:
            normed, _ = self.step.decode(x, self.positions[place], self.lengths[place], past[0], gathered)
            return normed, past
        return self.by_operator(x, place, past, gathered)

    def by_operator(self, x: Tensor, place: int, past: tuple[Any, ...], gathered: tuple[Any, ...]) -> Any:
        """`decode` by the operators of the device."""
        decoder, angle = self.decoder, (self.cos[place], self.sin[place])
        left: Any = ()
        normed, residual = self.ops.rms_norm(x, decoder.norms[0], self.eps), x
        for i in range(self.num_layers):
            large = gathered[i] if gathered else decoder.layers[i].large()
            earlier = past[i] if place else ()
            added, residual, seen = decoder.layers[i].decode_frame(normed, residual, large, angle, earlier)
            normed, residual = self.ops.add_rms_norm(added, residual, decoder.norms[i + 1], self.eps)
            left = left + (seen,)
        return normed, left
