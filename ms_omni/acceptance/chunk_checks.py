"""A prompt in chunks, each of which reads the earlier ones from the cache, against the same prompt at once."""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np

from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.compare import array_of, close, equal, worst_of
from ms_omni.acceptance.findings import Finding
from ms_omni.acceptance.one_layer import ALLOWED, BLOCKS, OneLayer, one_layer
from ms_omni.runtime.kv_cache import PagedKVCache

# The last chunk of the prompt is shorter, as usual
CHUNK = 40
# A matrix product of another size may sum in another order
ALLOWED_ROW = 8


def run(bench: Bench) -> None:
    """Only the Thinker: its prompts are long."""
    for dtype in ("bfloat16",) if bench.quick else ("bfloat16", "float16"):
        work = _Chunks(bench, dtype)
        bench.check(f"Thinker, {dtype}: a prompt by {CHUNK} tokens", work.answer)
        bench.check(f"Thinker, {dtype}: what the chunks leave in the cache", work.cached)


class _Chunks:
    """The layer and its chunked prompt, made by the first check that needs them."""

    def __init__(self, bench: Bench, dtype: str):
        self._make = partial(one_layer, bench.device, "Thinker", dtype, bench.quick)

    @cached_property
    def layer(self) -> OneLayer:
        return self._make()

    @cached_property
    def parts(self) -> tuple[np.ndarray, PagedKVCache]:
        """As `OneLayer.whole`, in chunks."""
        cache = self.layer.cache()
        return self.layer.prefill(cache, chunk=CHUNK), cache

    def answer(self) -> Finding:
        """Compared with the whole prompt, and with numpy."""
        layer = self.layer
        (whole, _), (parts, _), clear = layer.whole, self.parts, layer.clear
        return close([(parts[clear], whole[clear]), (parts[clear], layer.right.normed[clear])], layer.dtype, ALLOWED)

    def cached(self) -> Finding:
        """Keys and values depend only on the token; slots after the prompt stay empty."""
        layer = self.layer
        (_, whole), (_, parts) = layer.whole, self.parts
        pairs, empty = [], []
        for made, right in ((parts.keys[0], whole.keys[0]), (parts.values[0], whole.values[0])):
            tokens, expected = (np.concatenate(array_of(cache)[list(BLOCKS)]) for cache in (made, right))
            pairs.append((tokens, expected))
            empty.append((tokens[layer.tokens :], np.zeros_like(tokens[layer.tokens :])))
        return worst_of([close(pairs, layer.dtype, ALLOWED_ROW), equal(empty, "slots after the prompt")])
