"""Caches written in place and read again, and views of tensors with an offset: what is wrong here corrupts silently."""

from __future__ import annotations

from functools import partial
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, ops

from ms_omni.acceptance.bench import Bench, random
from ms_omni.acceptance.compare import array_of, equal
from ms_omni.acceptance.findings import Finding
from ms_omni.acceptance.released import decoder_specs
from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.runtime.kv_cache import KeyValueCache

CAPACITY, TOKENS = 256, 9


def run(bench: Bench) -> None:
    """Each in both dtypes; every check has caches of its own."""
    for dtype in ("bfloat16", "float16"):
        work = _Work(bench, dtype)
        bench.check(f"{dtype}: rows written outside of graphs", partial(work.written, in_graph=False))
        bench.check(f"{dtype}: rows written in a graph", partial(work.written, in_graph=True))
        bench.check(f"{dtype}: rows read in the graph that writes them", work.read_after_write)
        bench.check(f"{dtype}: a larger cache takes over", work.taken_over)
        bench.check(f"{dtype}: views with an offset", work.views)


class _Work:
    def __init__(self, bench: Bench, dtype: str):
        self.spec, self.ops = decoder_specs(quick=True)["Thinker"], decoder_ops(bench.device)
        self.dtype, self.options = dtype, self.ops.JIT_OPTIONS
        self._count = 0

    def make(self, seed: str, *shape: int) -> np.ndarray:
        return random(seed, *shape, dtype=numpy_dtype(getattr(ms, self.dtype)))

    def cache(self, capacity: int) -> KeyValueCache:
        self._count += 1
        name = f"accept.memory.{self.dtype}.{self._count}"
        return KeyValueCache(self.spec, self.ops, capacity, getattr(ms, self.dtype), name)

    def written(self, in_graph: bool) -> Finding:
        """Two writes to different rows: both are there, every other row is still empty."""
        cache = self.cache(CAPACITY)
        keys = cache.keys[0]

        def write(values: Tensor, rows: Tensor) -> Tensor:
            return self.ops.write_cache(keys, values, rows)

        function = ms.jit(write, **self.options) if in_graph else write
        right = np.zeros((self.spec.num_kv_heads, CAPACITY, self.spec.head_dim))
        for start in (3, 200):
            values = self.make(f"rows from {start}", self.spec.num_kv_heads, TOKENS, self.spec.head_dim)
            function(Tensor(values.reshape(-1, self.spec.head_dim)), cache.rows(start, start + TOKENS))
            right[:, start : start + TOKENS] = array_of(values)
        return equal([(_by_head(keys, right), right)])

    def read_after_write(self) -> Finding:
        """As decoding does: a graph writes a row and reads the cache."""
        cache, heads = self.cache(CAPACITY), self.spec.num_kv_heads
        keys = cache.keys[0]

        def step(values: Tensor, position: Tensor) -> Tensor:
            written = self.ops.write_cache(keys, values, cache.first_rows + position)
            return written.reshape(heads, CAPACITY, -1).sum(1)

        graph, pairs = ms.jit(step, **self.options), []
        right = np.zeros((heads, self.spec.head_dim))
        for position in (0, 7, CAPACITY - 1):
            # Whole numbers, whose sum every dtype holds
            values = np.round(self.make(f"row {position}", heads, self.spec.head_dim).astype(np.float32))
            right = right + values
            pairs.append((graph(Tensor(values).astype(getattr(ms, self.dtype)), Tensor(position, ms.int32)), right))
        return equal(pairs)

    def taken_over(self) -> Finding:
        small, large = self.cache(CAPACITY), self.cache(2 * CAPACITY)
        heads, dim = self.spec.num_kv_heads, self.spec.head_dim
        values = self.make("all rows", heads, CAPACITY, dim)
        self.ops.write_cache(small.values[0], Tensor(values.reshape(-1, dim)), small.rows(0, CAPACITY))
        large.take_over(small)
        right = np.zeros((heads, 2 * CAPACITY, dim))
        right[:, :CAPACITY] = array_of(values)
        return equal([(_by_head(large.values[0], right), right)])

    def views(self) -> Finding:
        """A graph gets a tensor, a part of another one, and a tensor again: token ids and hidden states."""
        table = Parameter(Tensor(self.make("table", 64, 128)), name=f"accept.table.{self.dtype}")

        def look_up(ids: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            return ops.gather(table, ids, 0), self.ops.linear(x, table)

        graph, pairs = ms.jit(look_up, **self.options), []
        ids, x = np.arange(8, dtype=np.int32) * 5, self.make("hidden states", 6, 128)
        for is_view in (False, True, False, True):
            given = (Tensor(ids)[-1:], Tensor(x)[-1:]) if is_view else (Tensor(ids[-1:]), Tensor(x[-1:]))
            rows, product = graph(*given)
            pairs += [(rows, array_of(table)[ids[-1:]]), (np.argmax(array_of(product)), _best(x, table))]
        return equal(pairs)


def _by_head(cache: Any, right: np.ndarray) -> np.ndarray:
    """Whatever the device's shape of a cache is, it holds (kv_heads, capacity, dim)."""
    return array_of(cache).reshape(right.shape)


def _best(x: np.ndarray, table: Any) -> int:
    """The row of the table that is most like the last of `x`: the same whatever is rounded."""
    return int(np.argmax(array_of(x)[-1] @ array_of(table).T))
