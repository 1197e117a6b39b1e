"""Counts what an answer makes host and device do: readings of values, collectives, operators of compiled graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

HOST_SYNCS, OPERATORS = "host_syncs", "operators"
# Of all kinds; each kind counts under its own name too (parallel.collectives.KINDS)
COLLECTIVES, COLLECTIVE_BYTES = "collectives", "collective_bytes"
# What every way of reading a tensor's values ends in: numpy(), item(), tolist(), bool(), int(), float(), index.
_READERS = ("asnumpy", "_item", "_tolist")


class Counters:
    """Gauges for a StageClock, while `counting`. A reading names host_syncs, collectives called eagerly with their
    bytes, and for every compiled graph its calls; `resolved` turns those into what the graphs did."""

    def __init__(self) -> None:
        self._host_syncs = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """While active, every reading of a tensor's values counts."""
        from mindspore import Tensor

        own = {name: vars(Tensor).get(name) for name in _READERS}
        for name in _READERS:
            setattr(Tensor, name, self._counted(getattr(Tensor, name)))
        try:
            yield
        finally:
            for name, plain in own.items():
                if plain is None:
                    delattr(Tensor, name)
                else:
                    setattr(Tensor, name, plain)

    def read(self) -> dict[Any, int]:
        """The gauges now. Graphs are their own keys."""
        from ms_omni.parallel.collectives import counts
        from ms_omni.runtime.graph_cache import CompiledGraph

        shown: dict[Any, int] = {HOST_SYNCS: self._host_syncs}
        _add(shown, counts())
        for graph in CompiledGraph.alive:
            shown[graph] = graph.calls
        return shown

    def _counted(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def read(tensor: Any, *arguments: Any, **keywords: Any) -> Any:
            self._host_syncs += 1
            return plain(tensor, *arguments, **keywords)

        return read


def resolved(counts: Mapping[str, Mapping[Any, int]]) -> dict[str, dict[str, int]]:
    """Of each stage, what was counted, with calls of graphs replaced by the operators and collectives in them; only
    what occurred."""
    found: dict[str, dict[str, int]] = {}
    for stage, shown in counts.items():
        total = found.setdefault(stage, {})
        for gauge, times in shown.items():
            each = {gauge: 1} if isinstance(gauge, str) else _of_graph(gauge.names) if times else {}
            for name, count in each.items():
                total[name] = total.get(name, 0) + count * times
    return {stage: {name: count for name, count in total.items() if count} for stage, total in found.items()}


@cache
def _of_graph(names: frozenset[str]) -> dict[str, int]:
    """What one call of a graph does."""
    from ms_omni.parallel.graph_counts import graph_counts, graph_operators

    done = {OPERATORS: graph_operators(names)}
    _add(done, graph_counts(names))
    return done


def _add(shown: dict[Any, int], counts: Iterable[Any]) -> None:
    """counts: of parallel.collectives.Count."""
    shown[COLLECTIVES] = shown[COLLECTIVE_BYTES] = 0
    for count in counts:
        shown[count.kind], shown[f"{count.kind}_bytes"] = count.calls, count.bytes
        shown[COLLECTIVES] += count.calls
        shown[COLLECTIVE_BYTES] += count.bytes
