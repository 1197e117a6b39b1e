"""Counters against the truth: what the test counts itself, in its own way."""

from collections import Counter

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_omni import SamplingParams
from ms_omni.parallel.graph_counts import graph_nodes
from ms_omni.profiling.counters import COLLECTIVE_BYTES, COLLECTIVES, HOST_SYNCS, OPERATORS, Counters, resolved
from ms_omni.profiling.sides import EngineSide
from ms_omni.profiling.task import Task
from ms_omni.runtime.graph_cache import CompiledGraph
from ms_omni.scheduling.state import RequestState

TEXT = [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}]


def test_every_way_of_reading_a_value_counts_once(cpu):
    x, one = Tensor(np.ones(3, np.float32)) + 1, Tensor(2) + 1
    counters = Counters()
    ways = (
        lambda: x.asnumpy(), lambda: x.numpy(), lambda: x.tolist(), lambda: one.item(), lambda: one.tolist(),
        lambda: bool(one), lambda: int(one), lambda: float(one), lambda: [0, 1, 2, 3][one], lambda: np.asarray(x),
    )  # fmt: skip
    for number, way in enumerate(ways, 1):
        with counters.counting():
            way()
        assert counters.read()[HOST_SYNCS] == number
    plain = Tensor.asnumpy
    with counters.counting():
        assert Tensor.asnumpy is not plain
        x + 1  # computing is no reading
    assert Tensor.asnumpy is plain
    x.asnumpy()
    assert counters.read()[HOST_SYNCS] == len(ways)


def test_eager_collectives_and_their_bytes(cpu, monkeypatch):
    from ms_omni.parallel import collectives
    from ms_omni.parallel.world import World

    sent = []

    def gather(x):
        sent.append(2 * x.nbytes)
        return ms.ops.concat((x, x))

    group = collectives.GroupOps(lambda x: x, gather, (), widens=False, sums_integers=True)
    world = World(0, 2, 2, ops=group)
    counters = Counters()
    before = counters.read()
    for length in (3, 5):
        collectives.all_gather(Tensor(np.ones(length, np.float32)), world)
    collectives.all_reduce(Tensor(np.ones(7, np.float32)), world)
    risen = {name: value - before.get(name, 0) for name, value in counters.read().items() if isinstance(name, str)}
    assert (risen["all_gather"], risen["all_gather_bytes"]) == (2, sum(sent)) == (2, 64)
    assert (risen["all_reduce"], risen["all_reduce_bytes"]) == (1, 28)
    assert (risen[COLLECTIVES], risen[COLLECTIVE_BYTES], risen[HOST_SYNCS]) == (3, 92, 0)


def test_operators_of_a_graph(cpu):
    def step(x):
        return (x + 1) * x, x.reshape(2, 1)

    graph = CompiledGraph(step, {}, None, "two operators")
    x = Tensor(np.ones(2, np.float32))
    before = Counters().read()
    for _ in range(3):
        graph(x)
    risen = {key: value - before.get(key, 0) for key, value in Counters().read().items()}
    assert risen[graph] == 3
    counts = resolved({"thinker_decode": risen, "other": {graph: 0}})
    assert counts["thinker_decode"][OPERATORS] == 3 * 2
    assert counts["other"] == {}


def test_a_graph_that_is_gone_is_not_kept(cpu):
    graph = CompiledGraph(lambda x: x + 1, {}, None, "soon gone")
    assert graph in CompiledGraph.alive
    del graph
    import gc

    gc.collect()
    assert all(left.name != "soon gone" for left in CompiledGraph.alive)


@pytest.fixture
def reads(monkeypatch):
    """Every reading of a tensor's values, one entry each."""
    made = []
    for name in ("asnumpy", "item", "tolist"):
        plain = getattr(Tensor, name)

        def counted(self, *args, plain=plain):
            made.append(plain.__name__)
            return plain(self, *args)

        monkeypatch.setattr(Tensor, name, counted)
    return made


def test_host_synchronisations_of_decoding_equal_those_between_its_tokens(fused, reads, monkeypatch):
    """From the first token's report to the last one's there is only decoding."""
    sampling = SamplingParams(thinker_max_new_tokens=13, thinker_temperature=0.0, ignore_eos=True)
    side, task = EngineSide.of("fused", fused), Task("hello", TEXT, sampling, speech=False)
    side.answer(task)
    seen = []
    plain = RequestState.add_tokens

    def add_tokens(state, ids):
        seen.append(len(reads))
        plain(state, ids)

    monkeypatch.setattr(RequestState, "add_tokens", add_tokens)
    measured = side.answer(task)
    assert measured.counts["thinker_decode"][HOST_SYNCS] == seen[3] - seen[0] == 3  # 12 tokens, 4 a call


def test_operators_of_decoding_are_those_of_its_graph(fused):
    sampling = SamplingParams(thinker_max_new_tokens=13, thinker_temperature=0.0, ignore_eos=True)
    side, task = EngineSide.of("fused", fused), Task("hello", TEXT, sampling, speech=False)
    side.answer(task)
    before = {graph: graph.calls for graph in CompiledGraph.alive}
    measured = side.answer(task)
    [graph] = [graph for graph, calls in before.items() if graph.calls > calls]
    assert graph.calls - before[graph] == 3
    [name] = graph.names
    kinds = Counter(node.op_type for node in graph_nodes(name))
    computing = sum(kinds[kind] for kind in ("Add", "Sub", "PyFunc", "Gather", "MatMul", "StridedSlice", "Concat"))
    assert kinds["PyFunc"] == 4 * 2  # for each of the 4 tokens: all layers, and the choice
    assert measured.counts["thinker_decode"][OPERATORS] == 3 * computing
