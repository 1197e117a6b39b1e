"""One new token through all layers of a decoder: the part of a decoding graph that Thinker, Talker and code predictor
share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn, ops

from ms_omni.kernels.host_kernel import host_kernel
from ms_omni.kernels.numpy_blocks import Block, TokenBlocks, layer_blocks
from ms_omni.parallel.collectives import all_reduce
from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.kv_cache import KeyValueCache


@dataclass(frozen=True)
class Run:
    """Consecutive blocks (half layers) as one kernel, up to before block `end`; is_addend as in `Block`."""

    kernel: Any
    end: int
    is_addend: bool


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
        self.in_numpy = decoder.ops.TOKENS_IN_NUMPY and decoder.dtype == ms.float32
        self.runs = self._runs() if self.in_numpy and not decoder.is_gathered else ()
        self.pairs = gathered_kernels(decoder, cache, graph_name) if self.in_numpy and decoder.is_gathered else ()
        self.kernels = tuple(run.kernel for run in self.runs)
        self.are_addends = tuple(run.is_addend for run in self.runs)
        self.reach_accepted = tuple(run.end == 2 * accept_layer for run in self.runs)
        self.nothing = mint.zeros((1, decoder.spec.hidden_size), dtype=decoder.dtype)

    @property
    def kernel_numbers(self) -> tuple[int, ...]:
        """By which a graph finds its kernels."""
        return tuple(kernel.number for kernel in (*self.kernels, *(kernel for pair in self.pairs for kernel in pair)))

    def gather(self) -> tuple[Any, ...]:
        """What all layers gather, one after the other, for several calls of `decode`; nothing where no layer gathers
        anything."""
        matrices: Any = ()
        parts = None
        if self.decoder.is_gathered:
            for layer in self.decoder.layers:
                parts = layer.parts(parts)
                matrices = matrices + (parts if self.pairs else layer.large(parts),)
        return matrices

    def gather_before(self, x: Tensor) -> tuple[Tensor, tuple[Any, ...]]:
        """`x`, from now on behind all that the layers gather, and this, for `decode`; nothing is gathered where ranks
        run the same graph. Other ranks' graphs differ in how they pick tokens: their collectives must still come in one
        order, which the dependence of every one on the one before alone makes sure of."""
        gathered: Any = ()
        if self.decoder.is_gathered and self.decoder.world.data_parallel:
            gathered = self.gather()
            x = ops.depend(x, gathered)
        return x, gathered

    def decode(
        self, x: Tensor, rope_position: Tensor, position: Tensor, gathered: tuple[Any, ...] = ()
    ) -> tuple[Tensor, Tensor]:
        """x: (1, hidden), the token at cache row `position`, int32 (). rope_position: float32 (). gathered: of `gather`
        if the layers shall not do it themselves. Returns the normed hidden state, (1, hidden), and the hidden state
        that enters the accepted layer (the normed one if there are fewer layers, `x` if none is accepted)."""
        if self.kernels:
            return self.in_runs(x, rope_position, position)
        if self.pairs:
            return self.in_pairs(x, rope_position, position, gathered)
        return self.by_operator(x, rope_position, position, gathered)

    def by_operator(
        self, x: Tensor, rope_position: Tensor, position: Tensor, gathered: tuple[Any, ...]
    ) -> tuple[Tensor, Tensor]:
        """`decode` by the operators of the device."""
        decoder, cache = self.decoder, self.cache
        angle, rows = decoder.angle(rope_position), cache.first_rows + position
        mask = self.ops.prepare_mask(cache.mask(position))
        normed, residual = self.ops.rms_norm(x, decoder.norms[0], self.eps), x
        accepted = x
        large = gathered[0] if gathered else decoder.layers[0].large()
        for i in range(self.num_layers):
            layer_cache = (cache.keys[i], cache.values[i])
            following = large
            if i + 1 < self.num_layers:
                # What the next layer gathers, if it does, can be on its way while this one computes
                following = gathered[i + 1] if gathered else decoder.layers[i + 1].large()
            added, residual = decoder.layers[i].decode(normed, residual, large, angle, layer_cache, rows, mask)
            large = following
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
            if self.are_addends[i]:
                added = all_reduce(added, self.decoder.world)
            if self.reach_accepted[i]:
                accepted = added + residual
        normed = added
        if self.are_addends[-1]:  # otherwise the last kernel has normed it
            normed, _ = self.ops.add_rms_norm(added, residual, self.decoder.norms[self.num_layers], self.eps)
        if self.accept_layer >= self.num_layers:
            accepted = normed
        return normed, accepted

    def in_pairs(
        self, x: Tensor, rope_position: Tensor, position: Tensor, gathered: tuple[Any, ...]
    ) -> tuple[Tensor, Tensor]:
        """`decode` by two kernels a layer, or one if it is dense, of weights that are gathered."""
        decoder = self.decoder
        added, residual = x, self.nothing
        accepted = x
        for i in range(self.num_layers):
            parts = gathered[i] if gathered else decoder.layers[i].parts()
            made = self.pairs[i][0]((added, residual, rope_position, position, parts))
            added, residual = made[0], made[1]
            if decoder.layers[i].has_experts:
                added = self.pairs[i][1]((added, made[2], made[3], decoder.layers[i].chosen_experts(made[4])))[0]
            if i + 1 == self.accept_layer:
                accepted = added + residual
        normed, _ = self.ops.add_rms_norm(added, residual, decoder.norms[self.num_layers], self.eps)
        if self.accept_layer >= self.num_layers:
            accepted = normed
        return normed, accepted

    def _runs(self) -> tuple[Run, ...]:
        """As long as they can be: to where ranks sum, and to the accepted hidden state."""
        decoder, cache = self.decoder, self.cache
        norms = [norm.asnumpy() for norm in decoder.norms]
        blocks = [
            block
            for layer, norm, keys, values in zip(decoder.layers, norms, cache.keys, cache.values, strict=False)
            for block in layer_blocks(layer, norm, keys.asnumpy(), values.asnumpy())
        ]
        last = len(blocks)
        ends = [i for i in range(1, last + 1) if blocks[i - 1].is_addend or i in (2 * self.accept_layer, last)]
        return tuple(self._run(blocks, start, end, norms) for start, end in zip([0, *ends], ends, strict=False))

    def _run(self, blocks: list[Block], start: int, end: int, norms: list[np.ndarray]) -> Run:
        decoder, is_addend = self.decoder, blocks[end - 1].is_addend
        final_norm = norms[-1] if end == len(blocks) and not is_addend else None
        work = TokenBlocks(blocks[start:end], decoder.spec.inv_freq, decoder.eps, final_norm)
        row = (ms.float32, (1, decoder.spec.hidden_size))
        name = f"{self.graph_name}, {self.cache.name} blocks {start} to {end}"
        return Run(host_kernel(work, (row, row, (ms.float32, ()), (ms.int32, ())), (row, row), name), end, is_addend)


def gathered_kernels(decoder: StackedDecoder, cache: KeyValueCache, graph_name: str) -> tuple[tuple[Any, ...], ...]:
    """The kernels of every layer, one or two, for weights that are gathered."""
    from ms_omni.kernels.numpy_gathered import GatheredAttention, GatheredExperts

    spec, ranks = decoder.spec, decoder.world.group_size
    row, shares = (ms.float32, (1, spec.hidden_size)), (ms.float32, (1, spec.experts_per_token))
    pairs: list[tuple[Any, ...]] = []
    for i, layer in enumerate(decoder.layers):
        name = f"{graph_name}, {cache.name} gathered layer {i}"
        work = GatheredAttention(
            layer, decoder.norms[i].asnumpy(), cache.keys[i].asnumpy(), cache.values[i].asnumpy(), spec.inv_freq
        )
        parts = (ms.float32, (ranks, layer.flat.shape[0]))
        inputs = (row, row, (ms.float32, ()), (ms.int32, ()), parts)
        if not layer.has_experts:
            pairs.append((host_kernel(work, inputs, (row, row), name),))
            continue
        size = layer.expert_rows.shape[1]
        chosen, experts = (ms.int32, shares[1]), (ms.float32, (ranks, spec.experts_per_token, size))
        first = host_kernel(work, inputs, (row, row, row, shares, chosen), name)
        second = host_kernel(GatheredExperts(layer), (row, row, shares, experts), (row,), f"{name} experts")
        pairs.append((first, second))
    return tuple(pairs)
