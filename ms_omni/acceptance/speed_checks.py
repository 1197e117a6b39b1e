"""Seconds of a launch, a layer, a token and a frame on this card: measured, and compared with nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.acceptance.answer_checks import PICTURE, ask, load_engine
from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.findings import Finding
from ms_omni.acceptance.one_layer import OneLayer, one_layer
from ms_omni.kernels.decoder_ops import decoder_ops

FEW_LAUNCHES, MANY_LAUNCHES = 8, 108
LARGE = 64 << 20  # values of a copy, two bytes each


def run(bench: Bench) -> None:
    """With --quick each is measured only a few times: enough to see that it works."""
    repeats = 2 if bench.quick else 20
    bench.check("a launch", partial(_launch, bench, repeats))
    bench.check("memory", partial(_copy, repeats, LARGE >> 4 if bench.quick else LARGE))
    for name in ("Thinker",) if bench.quick else ("Thinker", "Talker", "code predictor"):
        layer = partial(one_layer, bench.device, name, "bfloat16", bench.quick)
        bench.check(f"one layer of the {name}", partial(_layer, layer, repeats))
    if not bench.quick:
        bench.check("the tiny model", partial(_tiny, bench))


def _least_seconds(work: Callable[[], Any], repeats: int) -> float:
    """The least of several times; the first, which compiles, does not count."""
    taken = []
    for _ in range(repeats + 1):
        ms.runtime.synchronize()
        start = time.perf_counter()
        work()
        ms.runtime.synchronize()
        taken.append(time.perf_counter() - start)
    return min(taken[1:])


def _launch(bench: Bench, repeats: int) -> Finding:
    """From two chains of additions: the time that the longer one takes more."""
    options, x = decoder_ops(bench.device).JIT_OPTIONS, Tensor(np.ones((1, 2048), np.float32))

    def chain(length: int) -> Callable[[Tensor], Tensor]:
        def added(value: Tensor) -> Tensor:
            for _ in range(length):
                value = value + x
            return value

        return added

    figures = {}
    for name, wrap in (("graph", lambda function: ms.jit(function, **options)), ("eager", lambda function: function)):
        few, many = (wrap(chain(length)) for length in (FEW_LAUNCHES, MANY_LAUNCHES))
        short, long = (_least_seconds(partial(function, x), repeats) for function in (few, many))
        figures[f"{name}_launch_us"] = round((long - short) / (MANY_LAUNCHES - FEW_LAUNCHES) * 1e6, 2)
        figures[f"{name}_of_{FEW_LAUNCHES}_us"] = round(short * 1e6, 1)
    return Finding(figures=figures)


def _copy(repeats: int, values: int) -> Finding:
    """Bandwidth of reading and writing together."""
    x = ms.mint.zeros(values, dtype=ms.float16)
    seconds = _least_seconds(lambda: x + 1, repeats)
    return Finding(figures={"values": values, "gb_per_s": round(2 * 2 * values / seconds / 1e9, 2)})


def _layer(make: Callable[[], OneLayer], repeats: int) -> Finding:
    """A decoding graph of one layer and the final norm, until its result is there."""
    layer = make()
    cache = layer.cache()
    layer.prefill(cache)
    graph, inputs = layer.decoding(cache), layer.row(layer.tokens - 1)
    seconds = _least_seconds(lambda: graph(*inputs), repeats)
    prefill = _least_seconds(lambda: layer.prefill(cache), min(repeats, 5))
    name = f"prompt_of_{layer.tokens}_us"
    return Finding(figures={"token_us": round(seconds * 1e6, 1), name: round(prefill * 1e6, 1)})


def _tiny(bench: Bench) -> Finding:
    """The second answer, whose graphs are compiled already."""
    engine = load_engine(bench.device, "bfloat16")
    for _ in range(2):
        out = ask(engine, PICTURE, speak=True)
    frames = out.audio.num_frames if out.audio is not None else 0
    return Finding(
        figures={
            "thinker_tokens_per_s": round(out.usage.completion_tokens / out.stats["thinker_s"], 2),
            "talker_frames_per_s": round(frames / out.stats["talker_s"], 2),
            "tokens": out.usage.completion_tokens,
            "frames": frames,
            **{name: round(seconds, 3) for name, seconds in out.stats.items()},
        }
    )
