"""Counts host synchronisations, collectives, and operators of compiled graphs during an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

HOST_SYNCS, OPERATORS = "host_syncs", "operators"
# All kinds together; each kind is counted under its own name too (parallel.collectives.KINDS)
COLLECTIVES, COLLECTIVE_BYTES = "collectives", "collective_bytes"
# Every way of reading a tensor's values ends in one of these: numpy(), item(), tolist(), bool(), int(), float(), index
_READERS = ("asnumpy", "_item", "_tolist")


class Counters:
    """What a StageClock reads, while `counting`: host_syncs, collectives called eagerly and their bytes, and the calls
    of every compiled graph, which `resolved` replaces by what the graphs did."""

    def __init__(self) -> None:
        self._host_syncs = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """While active, each reading of a tensor's values counts as a host synchronisation."""
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
        """The counters now. A graph's calls have the graph as their key."""
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
    """The counts of each stage, with calls of graphs replaced by their operators and collectives; without zeros."""
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
    """Operators and collectives of one call of a graph."""
    from ms_omni.parallel.graph_counts import graph_counts, graph_operators

    done = {OPERATORS: graph_operators(names)}
    _add(done, graph_counts(names))
    return done


def _add(shown: dict[Any, int], counts: Iterable[Any]) -> None:
    """counts: parallel.collectives.Count."""
    shown[COLLECTIVES] = shown[COLLECTIVE_BYTES] = 0
    for count in counts:
        shown[count.kind], shown[f"{count.kind}_bytes"] = count.calls, count.bytes
        shown[COLLECTIVES] += count.calls
        shown[COLLECTIVE_BYTES] += count.bytes
