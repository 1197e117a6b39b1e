"""Keys and values of the tokens so far, in blocks that sequences are given."""

from __future__ import annotations

from typing import Any

from mindspore import ParameterTuple, mint, nn

from ms_omni.bounds import BLOCK_SIZE
from ms_omni.checkpoint.parameters import parameter
from ms_omni.runtime.decoder_spec import DecoderSpec


class PagedKVCache(nn.Cell):
    """`keys` and `values`: a Parameter for each layer, (num_blocks, block_size, kv_heads, head_dim), token by token.
    Block 0 belongs to rows of nobody and is given to no sequence."""

    def __init__(self, spec: DecoderSpec, num_blocks: int, dtype: Any, name: str, block_size: int = BLOCK_SIZE):
        super().__init__()
        self.num_blocks, self.block_size, self.name = num_blocks, block_size, name
        shape = (num_blocks, block_size, spec.num_kv_heads, spec.head_dim)

        def blocks(kind: str) -> ParameterTuple:
            return ParameterTuple(
                # Made on the device: `Parameter(mint.zeros(...))` would fetch them and send them back
                parameter(mint.zeros(shape, dtype=dtype), f"{name}.{kind}.{i}")
                for i in range(spec.num_layers)
            )

        self.keys, self.values = blocks("keys"), blocks("values")

    def take_over(self, smaller: PagedKVCache) -> None:
        """Copy the blocks of a cache of fewer. In place: kernels keep views of the memory."""
        for old, new in zip((*smaller.keys, *smaller.values), (*self.keys, *self.values), strict=True):
            new[: smaller.num_blocks].copy_(old)
