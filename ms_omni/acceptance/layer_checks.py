"""One layer of each decoder with random weights: a prompt outside of graphs, and a token in its graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.compare import close
from ms_omni.acceptance.findings import Finding
from ms_omni.acceptance.one_layer import ALLOWED, OneLayer, one_layer
from ms_omni.acceptance.released import DECODERS


def run(bench: Bench) -> None:
    """The Thinker comes last: the next step uses its layer again."""
    for dtype in ("bfloat16",) if bench.quick else ("float16", "bfloat16"):
        for name in reversed(DECODERS):
            layer = partial(one_layer, bench.device, name, dtype, bench.quick)
            bench.check(f"{name}, {dtype}: a prompt", partial(_prompt, layer))
            bench.check(f"{name}, {dtype}: a token in its graph", partial(_token, layer))
            bench.check(f"{name}, {dtype}: graph and prompt alike", partial(_alike, layer))


def _prompt(make: Callable[[], OneLayer]) -> Finding:
    layer = make()
    made, _ = layer.whole
    found = close([(made[layer.clear], layer.right.normed[layer.clear])], layer.dtype, ALLOWED)
    figures = {"tokens": layer.tokens, "tokens_compared": int(layer.clear.sum())}
    return Finding(found.difference, found.allowed, found.unit, figures=figures)


def _token(make: Callable[[], OneLayer]) -> Finding:
    layer = make()
    place = layer.last_clear
    return close([(layer.decoded, layer.right.normed[place : place + 1])], layer.dtype, ALLOWED)


def _alike(make: Callable[[], OneLayer]) -> Finding:
    layer = make()
    made, _ = layer.whole
    place = layer.last_clear
    return close([(layer.decoded, made[place : place + 1])], layer.dtype, ALLOWED)
