"""The code predictor's share of a fused frame. One graph computes both parts, so each is timed in its own graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

FRAMES = 20


def predictor_share(
    talker: Any,
    sampling: Any,
    num_rows: int,
    num_tokens: int,
    synchronize: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The least seconds of the code predictor alone, divided by the sum of these and the least seconds of the Talker's
    step alone. Both run FRAMES times, alternately.

    talker: a FusedTalker. sampling: a TalkerSampling. num_rows: conversations in a step, each with num_tokens tokens in
    the Talker's cache, which must be idle: its blocks are overwritten."""
    from mindspore import Tensor

    from ms_omni.limits import BLOCK_SIZE
    from ms_omni.runtime.decode_rows import bucket_of

    graph, arguments = talker.idle_call(bucket_of(-(-num_rows // talker.decoder.num_owners)), sampling)
    hidden, *first, lengths, rope_positions, tables = arguments[:7]
    position = min(num_tokens, talker.max_blocks * BLOCK_SIZE) - 1
    places = (Tensor(values.asnumpy() + values.asnumpy().dtype.type(position)) for values in (lengths, rope_positions))
    # Rows of padding, whose block is 0, may be skipped, and zeros may be multiplied sooner
    values = np.random.default_rng(0).standard_normal(hidden.shape, np.float32)
    own = (Tensor(values).astype(hidden.dtype), *first, *places, Tensor(_tables(talker, tables.shape, position)))
    predictor, backbone = _least_seconds(_parts(graph, (*own, *arguments[7:])), synchronize, clock)
    return predictor / (predictor + backbone)


def _tables(talker: Any, shape: tuple[int, int], position: int) -> np.ndarray:
    """Blocks of the cache for rows up to a position, int32 (rows, max_blocks)."""
    from ms_omni.limits import BLOCK_SIZE

    tables, count = np.zeros(shape, np.int32), position // BLOCK_SIZE + 1
    blocks = np.arange(shape[0] * count) % (talker.cache.num_blocks - 1) + 1
    tables[:, :count] = blocks.reshape(shape[0], count)
    return tables


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
    """The code predictor of a frame, and the Talker's step; each waits for its result, as decoding does. arguments: of
    the graph's `construct`."""
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
