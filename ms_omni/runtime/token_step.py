"""One new token through all layers of a decoder: the part of a decoding graph that Thinker, Talker and code predictor
share."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import Tensor, mint, nn

from ms_omni.runtime.decoder import KeyValueCache, StackedDecoder


class TokenStep(nn.Cell):
    """A decoder at work on one cache. `decode` is traced into the graphs of whoever calls it."""

    def __init__(self, decoder: StackedDecoder, cache: KeyValueCache, graph_name: str, accept_layer: int = -1):
        """graph_name: of the graph that it is for. accept_layer: the layer before which the hidden state is kept for
        speech; negative: none is."""
        super().__init__()
        self.graph_name = graph_name
        self.decoder, self.cache, self.ops = decoder, cache, decoder.ops
        self.num_layers, self.accept_layer = decoder.num_layers, accept_layer
        self.eps = decoder.eps
        self.runs = self._runs() if decoder.ops.TOKENS_IN_NUMPY and decoder.dtype == ms.float32 else ()
        self.ends, self.kernels = tuple(end for _, end in self.runs), self._kernels()
        self.nothing = mint.zeros((1, decoder.spec.hidden_size), dtype=decoder.dtype)

    @property
    def kernel_numbers(self) -> tuple[int, ...]:
        """By which a graph finds its kernels."""
        return tuple(kernel.number for kernel in self.kernels)

    def decode(self, x: Tensor, rope_position: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """x: (1, hidden), the token at cache row `position`, int32 (). rope_position: float32 (). Returns the normed
        hidden state, (1, hidden), and the hidden state that enters the accepted layer (the normed one if there are
        fewer layers, `x` if none is accepted)."""
        if self.kernels:
            return self.in_runs(x, rope_position, position)
        return self.by_operator(x, rope_position, position)

    def by_operator(self, x: Tensor, rope_position: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """`decode` by the operators of the device."""
        decoder, cache = self.decoder, self.cache
        angle, rows = decoder.angle(rope_position), cache.first_rows + position
        mask = self.ops.prepare_mask(cache.mask(position))
        normed, residual = self.ops.rms_norm(x, decoder.norms[0], self.eps), x
        accepted = x
        for i in range(self.num_layers):
            layer_cache = (cache.keys[i], cache.values[i])
            added, residual = decoder.layers[i].decode(normed, residual, angle, layer_cache, rows, mask)
            normed, residual = self.ops.add_rms_norm(added, residual, decoder.norms[i + 1], self.eps)
            if i + 1 == self.accept_layer:
                accepted = residual
        if self.accept_layer >= self.num_layers:
            accepted = normed
        return normed, accepted

    def in_runs(self, x: Tensor, rope_position: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """`decode` by kernels that take several layers each."""
        added, residual = x, self.nothing
        accepted = x
        for i in range(len(self.kernels)):
            added, residual = self.kernels[i]((added, residual, rope_position, position))
            if self.ends[i] == self.accept_layer:
                accepted = added + residual
        if self.accept_layer >= self.num_layers:
            accepted = added  # behind the last layer that is the normed state
        return added, accepted

    def _runs(self) -> tuple[tuple[int, int], ...]:
        """Layers from and to before which one kernel takes: all, but for the accepted hidden state between them."""
        if 0 < self.accept_layer < self.num_layers:
            return (0, self.accept_layer), (self.accept_layer, self.num_layers)
        return ((0, self.num_layers),)

    def _kernels(self) -> tuple[Any, ...]:
        if not self.runs:
            return ()
        from ms_omni.kernels.host_kernel import host_kernel
        from ms_omni.kernels.numpy_blocks import TokenBlocks, layer_blocks

        decoder, cache = self.decoder, self.cache
        norms = [norm.asnumpy() for norm in decoder.norms]
        blocks = [
            layer_blocks(layer, norm, keys.asnumpy(), values.asnumpy())
            for layer, norm, keys, values in zip(decoder.layers, norms, cache.keys, cache.values, strict=False)
        ]
        row = (ms.float32, (1, decoder.spec.hidden_size))
        inputs, outputs = (row, row, (ms.float32, ()), (ms.int32, ())), (row, row)

        def kernel(start: int, end: int) -> Any:
            final_norm = norms[end] if end == self.num_layers else None
            run = [block for pair in blocks[start:end] for block in pair]
            blocks_kernel = TokenBlocks(run, decoder.spec.inv_freq, decoder.eps, final_norm)
            return host_kernel(
                blocks_kernel, inputs, outputs, f"{self.graph_name}, {cache.name} layers {start} to {end}"
            )

        return tuple(kernel(start, end) for start, end in self.runs)
