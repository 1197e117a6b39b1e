"""The paged cache of keys and values: blocks that sequences are given."""

from __future__ import annotations

import math
import mmap
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ParameterTuple, mint, nn

from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.checkpoint.parameters import parameter
from ms_omni.limits import BLOCK_SIZE
from ms_omni.runtime.decoder_spec import DecoderSpec

# Without it Linux counts all pages as memory when a process forks, and refuses where the caches are larger than the
# machine's. Python 3.10 has no name for it.
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)


class PagedKVCache(nn.Cell):
    """`keys` and `values`: a Parameter for each layer, (num_blocks, block_size, kv_heads, head_dim), token by token.
    Block 0 is for padding rows and is given to no sequence."""

    def __init__(self, spec: DecoderSpec, num_blocks: int, dtype: Any, name: str, block_size: int = BLOCK_SIZE):
        super().__init__(auto_prefix=False)
        self.num_blocks, self.block_size, self.name = num_blocks, block_size, name
        shape = (num_blocks, block_size, spec.num_kv_heads, spec.head_dim)

        def blocks(kind: str) -> ParameterTuple:
            return ParameterTuple(parameter(_zeros(shape, dtype), f"{name}.{kind}.{i}") for i in range(spec.num_layers))

        self.keys, self.values = blocks("keys"), blocks("values")


def _zeros(shape: tuple[int, ...], dtype: Any) -> Any:
    """On a CPU pages that take no memory before they are written; elsewhere made on the device, not sent there."""
    if ms.get_context("device_target") != "CPU":
        return mint.zeros(shape, dtype=dtype)
    kind = numpy_dtype(dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    return np.frombuffer(mmap.mmap(-1, math.prod(shape) * kind.itemsize, flags=flags), kind).reshape(shape)
