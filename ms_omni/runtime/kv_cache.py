"""Keys and values of the tokens so far, in rows that are allocated once."""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import ParameterTuple, Tensor, mint, nn

from ms_omni.checkpoint.parameters import parameter
from ms_omni.runtime.decoder_spec import DecoderSpec

HIDDEN_SCORE = -1e30  # added to the scores of cache rows that are not filled yet


class KeyValueCache(nn.Cell):
    """Rows for `capacity` positions of every layer, in Parameters of the device's cache_shape, head by head."""

    def __init__(self, spec: DecoderSpec, operators: Any, capacity: int, dtype: Any, name: str):
        super().__init__()
        self.capacity, self.ops, self.name = capacity, operators, name
        self.num_kv_heads = spec.num_kv_heads
        shape = operators.cache_shape(spec.num_kv_heads, capacity, spec.head_dim)

        def rows(kind: str) -> ParameterTuple:
            return ParameterTuple(
                # Made on the device: `Parameter(mint.zeros(...))` would fetch them and send them back
                parameter(mint.zeros(shape, dtype=dtype), f"{name}.{kind}.{i}")
                for i in range(spec.num_layers)
            )

        self.keys, self.values = rows("keys"), rows("values")
        self.first_rows = self.rows(0, 1)
        self.places = Tensor(np.arange(capacity, dtype=np.int32))

    def mask(self, position: Tensor) -> Tensor:
        """float32 (capacity,): 0 up to `position`, HIDDEN_SCORE after it."""
        return (self.places > position).astype("float32") * HIDDEN_SCORE

    def rows(self, start: int, end: int) -> Tensor:
        """Where write_cache puts the positions from `start` to before `end`, int32."""
        return Tensor(self.ops.cache_rows(self.num_kv_heads, self.capacity, start, end))

    def take_over(self, smaller: KeyValueCache) -> None:
        """Copy the rows of a cache of less capacity. In place: kernels keep views of the memory."""
        rows = self.rows(0, smaller.capacity)
        for old, new in zip((*smaller.keys, *smaller.values), (*self.keys, *self.values), strict=True):
            self.ops.write_cache(new, old.reshape(-1, old.shape[-1]), rows)
