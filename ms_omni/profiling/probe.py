"""The code predictor's share of a fused frame: one graph holds both, so the predictor is timed in one of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

FRAMES = 20


def predictor_share(
    talker: Any, synchronize: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> float | None:
    """Least seconds of the code predictor alone over those of a whole frame, one after the other FRAMES times; None
    before a frame was made, and where the part seemed to take as long as the whole: the machine was too busy to tell.
    Both do the same work every time: what takes longer than the least is the machine's doing. talker: a FusedTalker,
    between two answers: what its caches hold is lost."""
    graph = talker.last_graph
    if graph is None:
        return None
    frame, predictor = _calls(talker, graph)
    seconds: tuple[list[float], list[float]] = ([], [])
    for attempt in range(FRAMES + 1):
        for call, taken in zip((predictor, frame), seconds, strict=True):
            synchronize()
            start = clock()
            call()
            synchronize()
            if attempt:  # the first compiles
                taken.append(clock() - start)
    share = min(seconds[0]) / min(seconds[1])
    return share if share < 1 else None


def _calls(talker: Any, graph: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A whole frame, and its part; each waits for the codes, as decoding does."""
    import mindspore as ms
    import numpy as np
    from mindspore import Tensor, ops

    from ms_omni.runtime.graph_cache import compiled

    def alone(*arguments: Any) -> Any:
        total, codes = graph.predict(*arguments)
        return total, ops.concat(codes, 0)

    part = compiled(alone, graph.ops.JIT_OPTIONS, None, "code predictor alone")
    config, dtype = talker.config, talker.decoder.dtype
    hidden = Tensor(np.zeros((1, config.text_config.hidden_size), np.float32)).astype(dtype)
    token, place = Tensor(np.zeros(1, np.int32)), Tensor(0, ms.int32)
    seen = Tensor(np.zeros((1, config.text_config.vocab_size), np.float32))
    uniform = Tensor(np.full(config.num_code_groups, 0.5, np.float32))
    last = Tensor(graph.talker.cache.capacity - 1, ms.int32)

    def frame() -> Any:
        return graph.run(hidden, token, seen, hidden, last, last.astype(ms.float32), uniform)[0].asnumpy()

    def predictor() -> Any:
        return part(hidden, token, hidden, place, uniform)[1].asnumpy()

    return frame, predictor
