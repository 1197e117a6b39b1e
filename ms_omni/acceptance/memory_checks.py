"""Caches written in place and read again, and views of tensors with an offset: errors here corrupt silently."""

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
from ms_omni.limits import BLOCK_SIZE
from ms_omni.runtime.kv_cache import PagedKVCache

NUM_BLOCKS, TOKENS = 2, 9


def run(bench: Bench) -> None:
    """All checks in both dtypes; every check has its own caches."""
    for dtype in ("bfloat16", "float16"):
        work = _Work(bench, dtype)
        bench.check(f"{dtype}: rows written outside of graphs", partial(work.written, in_graph=False))
        bench.check(f"{dtype}: rows written in a graph", partial(work.written, in_graph=True))
        bench.check(f"{dtype}: rows read in the graph that writes them", work.read_after_write)
        bench.check(f"{dtype}: views with an offset", work.views)


class _Work:
    def __init__(self, bench: Bench, dtype: str):
        self.spec, self.ops = decoder_specs(quick=True)["Thinker"], decoder_ops(bench.device)
        self.dtype, self.options = dtype, self.ops.JIT_OPTIONS
        self._count = 0

    def make(self, seed: str, *shape: int) -> np.ndarray:
        return random(seed, *shape, dtype=numpy_dtype(getattr(ms, self.dtype)))

    def cache(self, num_blocks: int) -> PagedKVCache:
        self._count += 1
        name = f"accept.memory.{self.dtype}.{self._count}"
        return PagedKVCache(self.spec, num_blocks, getattr(ms, self.dtype), name)

    def tokens(self, seed: str, count: int) -> np.ndarray:
        return self.make(seed, count, self.spec.num_kv_heads, self.spec.head_dim)

    def written(self, in_graph: bool) -> Finding:
        """Two writes to different slots: both are there, every other slot is still empty."""
        cache = self.cache(NUM_BLOCKS)
        keys, values = cache.keys[0], cache.values[0]

        def write(k: Tensor, v: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
            written = self.ops.write_cache(keys, values, k, v, slots)
            return written[0] + 0, written[1] + 0

        function = ms.jit(write, **self.options) if in_graph else write
        right = [np.zeros((NUM_BLOCKS * BLOCK_SIZE, *keys.shape[2:])) for _ in "kv"]
        for start in (3, 200):
            slots = start + np.random.default_rng(start).permutation(TOKENS).astype(np.int32)
            given = [self.tokens(f"{kind} from {start}", TOKENS) for kind in ("keys", "values")]
            function(*map(Tensor, (*given, slots)))
            for whole, part in zip(right, given, strict=True):
                whole[slots] = array_of(part)
        return equal(
            [(array_of(made).reshape(all_.shape), all_) for made, all_ in zip((keys, values), right, strict=True)]
        )

    def read_after_write(self) -> Finding:
        """As decoding does: a graph writes a slot and reads the cache."""
        cache = self.cache(NUM_BLOCKS)
        keys, values = cache.keys[0], cache.values[0]

        def step(k: Tensor, slots: Tensor) -> Tensor:
            written = self.ops.write_cache(keys, values, k, k, slots)
            return written[0].reshape(-1, *keys.shape[2:]).sum(0) + written[1].reshape(-1, *keys.shape[2:]).sum(0)

        graph, pairs = ms.jit(step, **self.options), []
        right = np.zeros(keys.shape[2:])
        for slot in (0, 7, NUM_BLOCKS * BLOCK_SIZE - 1):
            # Whole numbers, whose sum every dtype holds
            given = np.round(self.tokens(f"slot {slot}", 1).astype(np.float32))
            right = right + 2 * given[0]
            made = graph(Tensor(given).astype(getattr(ms, self.dtype)), Tensor([slot], ms.int32))
            pairs.append((made, right))
        return equal(pairs)

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


def _best(x: np.ndarray, table: Any) -> int:
    """The row of the table that is most like the last of `x`: the same whatever is rounded."""
    return int(np.argmax(array_of(x)[-1] @ array_of(table).T))
