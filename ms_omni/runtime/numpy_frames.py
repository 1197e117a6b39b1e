"""The code predictor on the CPU: one kernel of a graph makes all residual codes of a call's frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn

from ms_omni.kernels.host_kernel import host_kernel
from ms_omni.kernels.numpy_frame import ResidualCodes
from ms_omni.kernels.numpy_step import through
from ms_omni.parallel.vocabulary import is_split, whole
from ms_omni.parallel.world import World
from ms_omni.runtime.decoder import Decoder
from ms_omni.runtime.head import transposed_weight
from ms_omni.runtime.numpy_layers import decoder_blocks, gathered_attention


class NumpyFrames:
    """Shared by the FrameKernels of all graphs: weights, and a cache with a block for each row."""

    def __init__(
        self,
        decoder: Decoder,
        heads: Sequence[Parameter],
        tables: Sequence[Parameter],
        num_codes: int,
        num_rows: int,
        world: World,
    ):
        """heads, tables: of every residual code; the ranks may share their `num_codes` rows. num_rows: the most rows of
        a call. world: of the group, whether or not it shares the layers."""
        self.decoder, self.num_codes, self.world = decoder, num_codes, world
        self.cache = decoder.new_cache(num_rows + 1, "code_predictor", len(heads) + 1)
        split = [[p for p in each if is_split(world, p.shape[0], num_codes)] for each in (heads, tables)]
        self.split = tuple(split[0] + split[1])
        layers: list[Any]
        if decoder.is_gathered:
            layers = list(gathered_attention(decoder, self.cache))
        else:
            layers = [partial(through, decoder_blocks(decoder, self.cache), decoder.eps)]
        self.work = ResidualCodes(
            layers,
            decoder.spec.inv_freq,
            decoder.eps,
            decoder.norms[-1].asnumpy(),
            [] if split[0] else [transposed_weight(head) for head in heads],
            [] if split[1] else [table.float().asnumpy() for table in tables],
            decoder.is_gathered,
        )


class FrameKernel(nn.Cell):
    """The kernel of one graph, with the collectives that gather the weights that the ranks share."""

    def __init__(self, frames: NumpyFrames, rows: int, max_blocks: int, name: str):
        super().__init__(auto_prefix=False)
        decoder, steps = frames.decoder, frames.cache.block_size - 1
        self.decoder, self.world, self.num_codes = decoder, frames.world, frames.num_codes
        # A tuple for MindSpore's compile cache, as in TalkerGraph
        self.split = ParameterTuple(frames.split)
        row, many, whole_numbers = ((kind, shape) for kind, shape in (
            (ms.float32, (rows, decoder.spec.hidden_size)), (ms.float32, (rows,)), (ms.int32, (rows,)),
        ))  # fmt: skip
        inputs = [row, row, row, (ms.int32, (rows, max_blocks)), (ms.float32, (steps + 1, rows))]
        inputs += [many, whole_numbers, many]
        if decoder.is_gathered:
            inputs += [(layer.flat.dtype, (decoder.world.group_size, layer.flat.shape[0])) for layer in decoder.layers]
        inputs += [(ms.float32, (frames.num_codes, parameter.shape[1])) for parameter in frames.split]
        self.kernel = host_kernel(frames.work, inputs, [(ms.int32, (steps, rows)), row], f"{name} frame")
        self.kernel_numbers = (self.kernel.number,)

    def construct(
        self,
        hidden: Tensor,
        first: Tensor,
        words: Tensor,
        tables: Tensor,
        uniform: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> Any:
        """As `ResidualCodes`."""
        gathered = self.decoder.gather()
        for parameter in self.split:
            gathered = (*gathered, whole(parameter, self.world, self.num_codes).astype(ms.float32))
        hidden, first, words = hidden.astype(ms.float32), first.astype(ms.float32), words.astype(ms.float32)
        return self.kernel(hidden, first, words, tables, uniform, temperature, top_k, top_p, *gathered)
