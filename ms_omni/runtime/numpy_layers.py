"""A decoder's layers on the CPU: blocks for kernels of graphs, and prompts through all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from mindspore import Tensor

from ms_omni.kernels.host_threads import in_row_parts
from ms_omni.kernels.numpy_blocks import Block, experts, layer_blocks
from ms_omni.kernels.numpy_cache import Rows
from ms_omni.kernels.numpy_gathered import ExpertParts, ExpertPieces, GatheredAttention
from ms_omni.kernels.numpy_math import rms_norm
from ms_omni.parallel.collectives import all_reduce
from ms_omni.parallel.world import World
from ms_omni.runtime.kv_cache import PagedKVCache

# What is added, and the residual, (rows, hidden) each, before a layer -> after it; the residual may be the same array
Layer = Callable[[np.ndarray, np.ndarray, Rows], tuple[np.ndarray, np.ndarray]]

# The layers of each cache's decoder, for as long as the cache exists
_kept: WeakKeyDictionary[PagedKVCache, list[Layer]] = WeakKeyDictionary()


def decoder_blocks(decoder: Any, cache: PagedKVCache) -> list[Block]:
    """Two blocks for each layer of a Decoder whose weights are not gathered."""
    caches = zip(decoder.layers, decoder.norms, cache.keys, cache.values, strict=False)
    return [
        block
        for layer, norm, keys, values in caches
        for block in layer_blocks(layer, norm.asnumpy(), keys.asnumpy(), values.asnumpy())
    ]


def gathered_attention(decoder: Any, cache: PagedKVCache) -> Iterator[GatheredAttention]:
    """One for each layer of a Decoder whose weights are gathered."""
    for layer, norm, keys, values in zip(decoder.layers, decoder.norms, cache.keys, cache.values, strict=False):
        yield GatheredAttention(layer, norm.asnumpy(), keys.asnumpy(), values.asnumpy())


def prefill(
    decoder: Any,
    x: np.ndarray,
    rows: Rows,
    cache: PagedKVCache,
    deepstack: list[np.ndarray],
    accept_layer: int,
) -> tuple[np.ndarray, np.ndarray]:
    """As `Decoder.prefill`, with arrays. deepstack: (rows, hidden) for each of the first layers."""
    added, residual = x, np.zeros_like(x)
    accepted = x
    for number, layer in enumerate(_layers(decoder, cache), 1):
        added, residual = layer(added, residual, rows)
        if number <= len(deepstack):
            added = added + deepstack[number - 1]
        if number == accept_layer:
            accepted = added + residual
    last = decoder.norms[decoder.num_layers].asnumpy()
    normed = in_row_parts(lambda part: rms_norm(added[part] + residual[part], last, decoder.eps), len(x), x.shape[1:])
    return normed, normed if accept_layer >= decoder.num_layers else accepted


def _layers(decoder: Any, cache: PagedKVCache) -> list[Layer]:
    if cache not in _kept:
        _kept[cache] = list(_new_layers(decoder, cache))
    return _kept[cache]


def _new_layers(decoder: Any, cache: PagedKVCache) -> Iterator[Layer]:
    if decoder.is_gathered:
        for layer, attention in zip(decoder.layers, gathered_attention(decoder, cache), strict=True):
            yield _gathered(layer, attention)
    else:
        blocks = decoder_blocks(decoder, cache)
        for first in range(0, len(blocks), 2):
            yield _whole(blocks[first : first + 2], decoder.eps, decoder.world)


def _whole(blocks: list[Block], eps: float, world: World) -> Layer:
    def layer(added: np.ndarray, residual: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        for block in blocks:

            def enter(part: slice, norm: np.ndarray = block.norm, added: np.ndarray = added) -> np.ndarray:
                residual[part] += added[part]
                return rms_norm(residual[part], norm, eps)

            added = block.work(in_row_parts(enter, len(added), added.shape[1:]), rows)
            if block.is_addend:
                added = all_reduce(Tensor.from_numpy(added), world).asnumpy()
        return added, residual

    return layer


def _gathered(layer: Any, attention: GatheredAttention) -> Layer:
    """Gathers all experts, whichever the rows choose."""
    pieces = ExpertPieces(layer) if layer.has_experts else None

    def work(added: np.ndarray, residual: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        made = attention(added, residual, rows, layer.parts().asnumpy())
        if pieces is None:
            return made[0], made[1]
        added, residual, normed, shares, chosen = made
        parts = ExpertParts(layer.all_experts().asnumpy(), pieces)
        return added + experts(normed, chosen, shares, parts), residual

    return work
