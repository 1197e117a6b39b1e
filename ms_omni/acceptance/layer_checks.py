"""One layer of each decoder with random weights: a prompt outside of graphs, a token in its graph, and both alike."""

from __future__ import annotations

from functools import partial

from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.compare import array_of, close
from ms_omni.acceptance.findings import Finding
from ms_omni.acceptance.one_layer import ALLOWED, OneLayer
from ms_omni.acceptance.released import DECODERS

TOKENS = 64


def run(bench: Bench) -> None:
    """One decoder after the other, so that the memory of one is held at a time."""
    for dtype in ("bfloat16",) if bench.quick else ("bfloat16", "float16"):
        for name in DECODERS:
            layer = OneLayer(bench, name, dtype, TOKENS)
            bench.check(f"{name}, {dtype}: a prompt of {TOKENS} tokens", partial(_prompt, layer))
            bench.check(f"{name}, {dtype}: a token in its graph", partial(_token, layer))
            bench.check(f"{name}, {dtype}: graph and prompt alike", partial(_alike, layer))


def _prompt(layer: OneLayer) -> Finding:
    made = layer.prefill(layer.cache(), layer.tokens)
    found = close([(made[layer.clear], layer.right.normed[layer.clear])], layer.dtype, ALLOWED)
    return _with_count(found, layer)


def _token(layer: OneLayer) -> Finding:
    made = _decoded(layer)
    return close([(made, layer.right.normed[layer.last_clear : layer.last_clear + 1])], layer.dtype, ALLOWED)


def _alike(layer: OneLayer) -> Finding:
    place = layer.last_clear
    whole = layer.prefill(layer.cache(), place + 1)
    return close([(_decoded(layer), whole[place:])], layer.dtype, ALLOWED)


def _decoded(layer: OneLayer):
    """The last token with a clear choice, after a prompt of those before it."""
    place, cache = layer.last_clear, layer.cache()
    layer.prefill(cache, place)
    return array_of(layer.decoding(cache)(*layer.row(place)))


def _with_count(found: Finding, layer: OneLayer) -> Finding:
    figures = {"tokens": layer.tokens, "tokens_compared": int(layer.clear.sum())}
    return Finding(found.difference, found.allowed, found.unit, figures=figures)
