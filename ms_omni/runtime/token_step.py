"""One new token of each row through all layers of a decoder: the part that the graphs of Thinker and Talker share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn, ops

from ms_omni.kernels.host_kernel import host_kernel
from ms_omni.kernels.numpy_blocks import Block
from ms_omni.kernels.numpy_gathered import GatheredAttentionStep, GatheredExperts
from ms_omni.kernels.numpy_step import Scores, StepBlocks
from ms_omni.parallel.collectives import all_gather, all_reduce
from ms_omni.runtime.decoder import Decoder
from ms_omni.runtime.head import Head
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.numpy_layers import decoder_blocks, gathered_attention


@dataclass(frozen=True)
class FusedBlocks:
    """Consecutive blocks (half layers) as one kernel. end: the first block behind them. is_addend: as in `Block`."""

    kernel: Any
    end: int
    is_addend: bool


class TokenStep(nn.Cell):
    """A decoder with one cache. `decode` is traced into the graphs that call it.

    Where each rank owns some of the rows, it computes its own through the layers. Inputs and outputs have the rows of
    all ranks, those of rank r from r * num_rows on."""

    def __init__(
        self,
        decoder: Decoder,
        cache: PagedKVCache,
        graph_name: str,
        num_rows: int,
        max_blocks: int,
        head: Head | None = None,
    ):
        """graph_name: names the kernels. num_rows: that this rank computes. max_blocks: columns of the block tables.
        head: for `decode_scores`."""
        super().__init__(auto_prefix=False)
        self.head: Any = head
        self.graph_name = f"{graph_name}, {cache.name} {num_rows} x {max_blocks}"
        self.decoder, self.cache, self.ops = decoder, cache, decoder.ops
        self.num_layers, self.block_size = decoder.num_layers, cache.block_size
        self.eps = decoder.eps
        row = (ms.float32, (num_rows, decoder.spec.hidden_size))
        # added, residual, rope_positions, context_lens, block_tables
        inputs = (row, row, (ms.float32, (num_rows,)), (ms.int32, (num_rows,)), (ms.int32, (num_rows, max_blocks)))
        self.runs = self._runs(inputs) if decoder.in_numpy and not decoder.is_gathered else ()
        self.pairs = self._pairs(inputs) if decoder.in_numpy and decoder.is_gathered else ()
        self.last_norm: Any = self._kernel([], inputs, True, "last norm") if decoder.in_numpy else None
        self.kernels = tuple(run.kernel for run in self.runs)
        self.are_addends = tuple(run.is_addend for run in self.runs)
        self.nothing = mint.zeros((num_rows, decoder.spec.hidden_size), dtype=decoder.stored_dtype)
        self.splits_rows, first = decoder.num_owners > 1, decoder.owner * num_rows
        self.own_rows = Tensor(np.arange(first, first + num_rows, dtype=np.int32))
        self.score: Any = self._score(num_rows * decoder.num_owners) if self.pairs and head is not None else None

    @property
    def kernel_numbers(self) -> tuple[int, ...]:
        """The numbers by which a graph finds its kernels."""
        if self.last_norm is None:
            return ()
        in_pairs = [kernel for pair in self.pairs for kernel in pair]
        score = [] if self.score is None else [self.score]
        return tuple(kernel.number for kernel in (self.last_norm, *self.kernels, *in_pairs, *score))

    def decode(self, x: Tensor, rope_positions: Tensor, context_lens: Tensor, block_tables: Tensor) -> Tensor:
        """x: (B, hidden), the last token of each row. block_tables: int32 (B, max_blocks), the sequences' blocks in the
        cache; a row whose first block is 0 is padding. Of the rows that this rank computes: rope_positions, float32
        (num_rows,), and context_lens, int32 (num_rows,), tokens with this one. Returns the normed hidden states, (B,
        hidden).

        On Ascend `context_lens` is the graph input whose name `decoder_ops_ascend_paged` prescribes."""
        if self.splits_rows:
            x, block_tables = ops.gather(x, self.own_rows, 0), ops.gather(block_tables, self.own_rows, 0)
        if self.last_norm is None:
            normed = self.by_operator(x, rope_positions, context_lens, block_tables)
        else:
            normed, _ = self.in_numpy(x, (rope_positions, context_lens, block_tables))
        normed = normed.astype(x.dtype)
        return all_gather(normed, self.decoder.world) if self.splits_rows else normed

    def decode_scores(
        self, x: Tensor, rope_positions: Tensor, context_lens: Tensor, block_tables: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `decode`: the normed hidden states, and their logits, float32 (B, words)."""
        if self.kernels:
            normed, scores = self.in_numpy(x, (rope_positions, context_lens, block_tables))
            return normed.astype(x.dtype), self.head.of_parts(scores)
        normed = self.decode(x, rope_positions, context_lens, block_tables)
        if self.last_norm is None:
            return normed, self.head(normed)
        return normed, self.head.of_parts(self.score(normed.astype(ms.float32))[0])

    def by_operator(self, x: Tensor, rope_positions: Tensor, context_lens: Tensor, block_tables: Tensor) -> Tensor:
        """`decode` of this rank's rows by the operators of the device."""
        decoder, cache = self.decoder, self.cache
        angle, slots = decoder.angles(rope_positions), self.slots(context_lens, block_tables)
        normed, residual = self.ops.rms_norm(x, decoder.norms[0], self.eps), x
        large = decoder.layers[0].large()
        for i in range(self.num_layers):
            layer_cache = (cache.keys[i], cache.values[i])
            following = large
            if i + 1 < self.num_layers:
                # Where weights are gathered, the next layer's travel while this one computes
                following = decoder.layers[i + 1].large()
            added, residual = decoder.layers[i].decode(
                normed, residual, large, angle, layer_cache, slots, block_tables, context_lens
            )
            large = following
            normed, residual = self.ops.add_rms_norm(added, residual, decoder.norms[i + 1], self.eps)
        return normed

    def slots(self, context_lens: Tensor, block_tables: Tensor) -> Tensor:
        """The cache slots of the rows' last tokens, int32 (B,)."""
        positions = context_lens - 1
        number = mint.floor_divide(positions, self.block_size)
        block = mint.gather(block_tables, 1, number.reshape(-1, 1)).reshape(-1)
        return (block - number) * self.block_size + positions

    def in_numpy(self, x: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """`decode` of this rank's rows by numpy kernels; `in_runs` with a head also returns this rank's logits."""
        if self.kernels:
            return self.in_runs(x.astype(ms.float32), places)
        return self.in_pairs(x.astype(ms.float32), places)

    def in_runs(self, x: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """`in_numpy` with kernels of several layers each."""
        added, residual = x, self.nothing
        for i in range(len(self.kernels)):
            added, residual = self.kernels[i](added, residual, *places)
            if self.are_addends[i]:
                added = all_reduce(added, self.decoder.world)
        if self.are_addends[-1]:  # otherwise the last kernel has normed it
            added, residual = self.last_norm(added, residual, *places)
        return added, residual

    def in_pairs(self, x: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """`in_numpy` with gathered weights: two kernels for each layer, one if it is dense."""
        decoder = self.decoder
        added, residual = x, self.nothing
        for i in range(self.num_layers):
            made = self.pairs[i][0](added, residual, *places, decoder.layers[i].parts())
            added, residual = made[0], made[1]
            if decoder.layers[i].has_experts:
                experts = decoder.layers[i].chosen_experts(made[4])
                added = self.pairs[i][1](added, made[2], made[3], made[4], experts)[0]
        return self.last_norm(added, residual, *places)

    def _runs(self, inputs: tuple[Any, ...]) -> tuple[FusedBlocks, ...]:
        """The fewest kernels: each ends where the ranks sum, or with the last layer."""
        blocks = decoder_blocks(self.decoder, self.cache)
        last = len(blocks)
        ends = [i for i in range(1, last + 1) if blocks[i - 1].is_addend or i == last]
        return tuple(
            self._fused_blocks(blocks, start, end, inputs) for start, end in zip([0, *ends], ends, strict=False)
        )

    def _fused_blocks(self, blocks: list[Block], start: int, end: int, inputs: tuple[Any, ...]) -> FusedBlocks:
        is_addend = blocks[end - 1].is_addend
        ends_normed = end == len(blocks) and not is_addend
        kernel = self._kernel(blocks[start:end], inputs, ends_normed, f"blocks {start} to {end}")
        return FusedBlocks(kernel, end, is_addend)

    def _kernel(self, blocks: list[Block], inputs: tuple[Any, ...], ends_normed: bool, name: str) -> Any:
        decoder, outputs = self.decoder, inputs[:2]
        final_norm, head = decoder.norms[-1].asnumpy() if ends_normed else None, None
        if ends_normed and self.head is not None and not decoder.is_gathered:
            head = self.head.array
            outputs = (inputs[0], (ms.float32, (inputs[0][1][0], head.shape[1])))
        work = StepBlocks(blocks, decoder.spec.inv_freq, decoder.eps, self.block_size, final_norm, head)
        return host_kernel(work, inputs, outputs, f"{self.graph_name} {name}")

    def _score(self, num_rows: int) -> Any:
        """The head's kernel, for rows of all ranks."""
        head = self.head.array
        inputs, outputs = ((ms.float32, (num_rows, size)) for size in head.shape)
        return host_kernel(Scores(head), (inputs,), (outputs,), f"{self.graph_name} head")

    def _pairs(self, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
        """The kernels of every layer, one or two, for weights that are gathered."""
        decoder = self.decoder
        spec, ranks, row, num_rows = decoder.spec, decoder.world.group_size, inputs[0], inputs[0][1][0]
        shares = (ms.float32, (num_rows, spec.experts_per_token))
        pairs: list[tuple[Any, ...]] = []
        for i, attention in enumerate(gathered_attention(decoder, self.cache)):
            layer, name = decoder.layers[i], f"{self.graph_name} gathered layer {i}"
            work = GatheredAttentionStep(attention, spec.inv_freq, self.block_size)
            first_inputs = (*inputs, (layer.flat.dtype, (ranks, layer.flat.shape[0])))
            if not layer.has_experts:
                pairs.append((host_kernel(work, first_inputs, (row, row), name),))
                continue
            chosen = (ms.int32, shares[1])
            experts = (layer.flat.dtype, (ranks, num_rows * spec.experts_per_token, layer.expert_rows.shape[1]))
            first = host_kernel(work, first_inputs, (row, row, row, shares, chosen), name)
            second = host_kernel(GatheredExperts(layer), (row, row, shares, chosen, experts), (row,), f"{name} experts")
            pairs.append((first, second))
        return tuple(pairs)
