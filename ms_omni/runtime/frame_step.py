"""The code predictor by operators: the tokens of one frame, one after the other in one graph. It sees no other
frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Tensor, nn

from ms_omni.runtime.decoder import Decoder


class FrameStep(nn.Cell):
    """Its methods are traced into the graphs that call them.

    Keys and values of earlier tokens are tensors of the graph: PagedAttention would take another decoder's lengths."""

    def __init__(self, decoder: Decoder, num_tokens: int):
        """num_tokens: of a frame."""
        super().__init__(auto_prefix=False)
        self.decoder, self.ops, self.num_layers, self.eps = decoder, decoder.ops, decoder.num_layers, decoder.eps
        angles = [decoder.spec.angles(np.array([place]))[0] for place in range(num_tokens)]  # of all rows
        self.cos = tuple(Tensor(np.cos(angle), decoder.dtype) for angle in angles)
        self.sin = tuple(Tensor(np.sin(angle), decoder.dtype) for angle in angles)

    def decode(self, x: Tensor, place: int, past: tuple[Any, ...], gathered: tuple[Any, ...]) -> Any:
        """x: (B, hidden), token number `place` of each row's frame. past: as returned for the token before, empty for
        the first. gathered: of `Decoder.gather`. Returns the normed hidden states, (B, hidden), and `past` for the next
        token."""
        decoder, angle = self.decoder, (self.cos[place], self.sin[place])
        left: Any = ()
        normed, residual = self.ops.rms_norm(x, decoder.norms[0], self.eps), x
        for i in range(self.num_layers):
            large = gathered[i] if gathered else decoder.layers[i].large()
            earlier = past[i] if place else ()
            added, residual, seen = decoder.layers[i].decode_frame(normed, residual, large, angle, earlier)
            normed, residual = self.ops.add_rms_norm(added, residual, decoder.norms[i + 1], self.eps)
            left = (*left, seen)
        return normed, left
