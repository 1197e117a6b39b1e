"""The next token, sampled on the card: outside of graphs, as after a prompt, and in one, as while decoding."""

from __future__ import annotations

from functools import partial
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.acceptance import formulas
from ms_omni.acceptance.bench import Bench, random
from ms_omni.acceptance.compare import close
from ms_omni.acceptance.findings import Finding
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.runtime.sampling import Sampling, SamplingTensors, penalize_repeated

VOCABULARIES = {"Thinker": 152_064, "Talker": 3072, "code predictor": 2048}
# The defaults of Thinker, Talker and code predictor, and sampling from the whole vocabulary
SETTINGS = {
    "greedy": Sampling(),
    "top-k": Sampling(0.9, 50, 1.0),
    "top-k and top-p": Sampling(1.0, 50, 0.8),
    "top-p": Sampling(0.7, 0, 0.8),
    "temperature alone": Sampling(1.3, 0, 1.0),
}
CLEAR_PROBABILITY = 0.02  # of a drawn token: rounding moves the bounds between tokens by far less


def run(bench: Bench) -> None:
    """The defaults' ways of sampling, and further ones that users ask for."""
    operators = decoder_ops(bench.device)
    for part, size in VOCABULARIES.items():
        for name, sampling in SETTINGS.items():
            if bench.quick and part != "Thinker" and name != "top-k and top-p":
                continue
            bench.check(f"{part}, {size} tokens: {name}", partial(_sample, operators, size, sampling))
    bench.check("penalty of repeated tokens", partial(_penalty, operators.JIT_OPTIONS))


def _sample(operators: Any, size: int, sampling: Sampling) -> Finding:
    """With random numbers from the middle of a token's interval, so that the right token is known beforehand."""
    logits = random("logits", size, dtype=np.float32) * 2
    # Some tokens stand out, as in an answer, and no two are equal: they are drawn often and without doubt
    places = np.random.default_rng(5).permutation(size)[:12]
    logits[places] = logits.max() + np.linspace(4, 1, 12, dtype=np.float32)
    expected, uniforms = _known(logits, sampling)
    settings = SamplingTensors.of([sampling], size, operators)
    sampler = operators.Sampler(1, size, settings.num_kept, f"accept {size}")

    def graph(*inputs: Tensor) -> Tensor:
        return sampler(*inputs)

    compiled = ms.jit(graph, **operators.JIT_OPTIONS)
    scores, wrong, said = Tensor(logits[None]), 0, ""
    for token, uniform in zip(expected, uniforms, strict=True):
        for way, function in (("outside of graphs", graph), ("in a graph", compiled)):
            made = function(scores, Tensor([uniform], ms.float32), *settings.tensors).asnumpy()
            if made.shape != (1,) or int(made[0]) != token:
                wrong, said = wrong + 1, said or f"{way}, first: {made.tolist()} instead of {token}"
    return Finding(float(wrong), 0.0, f"of {2 * len(expected)} tokens", said)


def _known(logits: np.ndarray, sampling: Sampling) -> tuple[list[int], list[float]]:
    if sampling.temperature == 0:
        return [formulas.sample(logits, 0.5, 0, 0, 1)], [0.5]
    settings = sampling.temperature, sampling.top_k, sampling.top_p
    ids, chances = formulas.kept(logits, *settings)
    bounds = np.cumsum(chances) / chances.sum()
    middles = bounds - chances / chances.sum() / 2
    clear = np.flatnonzero(chances / chances.sum() > CLEAR_PROBABILITY)
    chosen = clear[[0, len(clear) // 2, -1]]
    for place in chosen:
        assert formulas.sample(logits, middles[place], *settings) == ids[place]
    return [int(ids[place]) for place in chosen], [float(middles[place]) for place in chosen]


def _penalty(options: dict[str, Any]) -> Finding:
    size = VOCABULARIES["Talker"]
    logits = random("logits", 1, size, dtype=np.float32) * 3
    seen = (random("seen", 1, size, dtype=np.float32) > 0.5).astype(np.float32)
    right = np.where(seen > 0, np.where(logits < 0, logits * 1.05, logits / 1.05), logits)

    inputs = Tensor(logits), Tensor(seen), Tensor([1.05], ms.float32)
    pairs = [(function(*inputs), right) for function in (penalize_repeated, ms.jit(penalize_repeated, **options))]
    return close(pairs, "float32", 4)
