"""The code predictor's share of a fused frame: one graph holds both, so each part is timed in a graph of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

FRAMES = 20


def predictor_share(
    talker: Any, synchronize: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> float | None:
    """Least seconds of the code predictor alone over those of it and of the Talker's own step alone, FRAMES times in
    turn; None before a frame was made. Both do the same work every time: what takes longer than the least is the
    machine's doing. talker: a FusedTalker, between two answers: what its caches hold is lost."""
    if talker.last is None:
        return None
    predictor, backbone = _least_seconds(_parts(*talker.last), synchronize, clock)
    return predictor / (predictor + backbone)


def _least_seconds(
    calls: Sequence[Callable[[], object]], synchronize: Callable[[], object], clock: Callable[[], float]
) -> list[float]:
    taken: list[list[float]] = [[] for _ in calls]
    for attempt in range(FRAMES + 1):
        for call, seconds in zip(calls, taken, strict=True):
            synchronize()
            start = clock()
            call()
            synchronize()
            if attempt:  # the first compiles
                seconds.append(clock() - start)
    return [min(seconds) for seconds in taken]


def _parts(graph: Any, arguments: Sequence[Any]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The code predictor of a frame, and the Talker's step; each waits for what it made, as decoding does. arguments:
    those of the graph's `construct`."""
    from mindspore import Tensor, ops

    from ms_omni.runtime.graph_cache import CompiledGraph

    def predict(hidden: Tensor, token: Tensor, text: Tensor, tables: Tensor, uniform: Tensor, *choice: Tensor) -> Any:
        numbers = graph.ops.rows_of(uniform, graph.num_residuals + 1)
        total, codes = graph.predict(hidden, token, text, tables, uniform, numbers, *choice)
        return total, ops.concat(codes, 0)

    def step(
        x: Tensor, batch_valid_length: Tensor, rope_positions: Tensor, tables: Tensor, seen: Tensor, *choice: Tensor
    ) -> Any:
        _, scores = graph.talker.decode_scores(x, rope_positions, batch_valid_length, tables)
        return graph.choose(scores, seen, *choice)

    predictor = CompiledGraph(predict, graph.ops.JIT_OPTIONS, None, "code predictor alone")
    backbone = CompiledGraph(step, graph.ops.JIT_OPTIONS, None, "Talker's step alone")
    hidden, token, seen, text, lengths, rope_positions, tables, uniform, *settings = arguments
    first_code, residual_codes = settings[:-3], settings[-3:]
    residual = hidden, token, text, tables, uniform, *residual_codes
    first = hidden, lengths, rope_positions, tables, seen, uniform[0], *first_code
    return lambda: predictor(*residual)[1].asnumpy(), lambda: backbone(*first)[0].asnumpy()
