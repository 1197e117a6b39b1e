"""A prompt that comes in chunks, each of which finds those before it in the cache, against the same prompt at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.compare import array_of, close, equal, together
from ms_omni.acceptance.findings import Finding
from ms_omni.acceptance.one_layer import ALLOWED, OneLayer
from ms_omni.runtime import decoder
from ms_omni.runtime.kv_cache import KeyValueCache

# The last one is shorter, as it mostly is
TOKENS, CHUNK = 152, 64
# A matrix product of other sizes may add up in another order
ALLOWED_ROW = 8


def run(bench: Bench) -> None:
    """The Thinker, whose prompts are long."""
    for dtype in ("bfloat16",) if bench.quick else ("bfloat16", "float16"):
        layer = OneLayer(bench, "Thinker", dtype, TOKENS)
        bench.check(f"Thinker, {dtype}: {TOKENS} tokens by {CHUNK}", partial(_chunks, layer))
        bench.check(f"Thinker, {dtype}: what the chunks leave in the cache", partial(_cached, layer))


def _chunks(layer: OneLayer) -> Finding:
    whole, parts = layer.prefill(layer.cache(), TOKENS), _in_chunks(layer, layer.cache())
    clear = layer.clear
    return close([(parts[clear], whole[clear]), (parts[clear], layer.right.normed[clear])], layer.dtype, ALLOWED)


def _cached(layer: OneLayer) -> Finding:
    """Keys and values depend on the token alone; rows behind the prompt stay empty."""
    whole, parts = layer.cache(), layer.cache()
    layer.prefill(whole, TOKENS)
    _in_chunks(layer, parts)
    pairs, empty = [], []
    for made, right in ((parts.keys[0], whole.keys[0]), (parts.values[0], whole.values[0])):
        by_head = array_of(made).reshape(layer.spec.num_kv_heads, parts.capacity, -1)
        pairs.append((by_head, array_of(right).reshape(by_head.shape)))
        empty.append((by_head[:, TOKENS:], np.zeros_like(by_head[:, TOKENS:])))
    return together([close(pairs, layer.dtype, ALLOWED_ROW), equal(empty, "rows behind the prompt")])


def _in_chunks(layer: OneLayer, cache: KeyValueCache) -> np.ndarray:
    with _chunks_of(CHUNK):
        return layer.prefill(cache, TOKENS)


@contextmanager
def _chunks_of(tokens: int) -> Iterator[None]:
    """A prompt is cut into chunks of so many, instead of some thousand."""
    before, decoder.PREFILL_CHUNK = decoder.PREFILL_CHUNK, tokens
    try:
        yield
    finally:
        decoder.PREFILL_CHUNK = before
