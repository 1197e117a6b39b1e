"""Compares hidden states of two half-precision runs with those of float32, where the runs chose the experts of float32.

An expert that falls the other way is no rounding: what follows is another function. So the tokens behind such a choice
are counted and not compared, and the choices themselves must have been close: `first_flips`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from half_cases import kept_rows

Arrays = dict[str, np.ndarray]
DECODERS = ("thinker", "talker")


@dataclass(frozen=True)
class Errors:
    """Of one array of one conversation: sums of squares over the rows that are compared, relative to the mean square of
    float32's values; `rows` of them, `others` left out; the largest root mean square of a row of each run."""

    ours: float
    torch: float
    rows: int
    others: int
    largest: float
    largest_torch: float


def flipped(run: Arrays, truth: Arrays, decoder: str) -> np.ndarray:
    """bool (layers, tokens): where a run's experts are not those of float32."""
    layers = sorted(
        (name for name in truth if name.startswith(f"{decoder}.route.")), key=lambda n: int(n.split(".")[2])
    )
    return np.array([(run[name] != truth[name]).any(-1) for name in layers])


def first_flips(run: Arrays, truth: Arrays, decoder: str) -> list[tuple[int, int, float]]:
    """Layer, token and margin in float32 of the choices that fell the other way with no other behind them."""
    flips = flipped(run, truth, decoder)
    found = []
    for layer, token in zip(*np.nonzero(flips), strict=True):
        if not flips[:layer, : token + 1].any():
            found.append((int(layer), int(token), float(truth[f"{decoder}.margin.{layer}"][token])))
    return found


def untouched(run: Arrays, truth: Arrays, decoder: str) -> np.ndarray:
    """bool (layers + 1, tokens): what enters each layer, and the final norm, has no flipped choice behind it."""
    flips = flipped(run, truth, decoder)
    touched = np.zeros((flips.shape[0] + 1, flips.shape[1]), np.bool_)
    for layer in range(flips.shape[0]):
        # through attention all tokens before; its own experts touch the token alone, at once
        touched[layer + 1] = np.logical_or.accumulate(touched[layer]) | flips[layer]
    return ~touched


def rows_kept(num_prompt: int, num_all: int) -> np.ndarray:
    """Places of the rows that are recorded of a prompt and the tokens after it."""
    return np.concatenate([kept_rows(num_prompt), np.arange(num_prompt, num_all)])


def compare(ours: Arrays, torch: Arrays, truth: Arrays, accept_layer: int) -> dict[str, Errors]:
    """By name, of everything that was recorded."""
    clean = {d: untouched(ours, truth, d) & untouched(torch, truth, d) for d in DECODERS if f"{d}.route.0" in truth}
    hears = any(name in truth for name in ("audio", "vision"))
    if hears and not clean["thinker"][accept_layer].all():
        clean["talker"][:] = False  # the prompt of the Talker holds hidden states of the Thinker
    found = {}
    for name in ours:
        if ".route." in name:
            continue
        base = name.replace(".graph", ".normed")
        want, other, mine = truth[base][-len(ours[name]) :], torch[base][-len(ours[name]) :], ours[name]
        if want.ndim == 1:
            want, other, mine = want[None], other[None], mine[None]
        assert mine.shape == want.shape, (name, mine.shape, want.shape)
        found[name] = _errors(mine, other, want, _mask(name, len(want), clean))
    return found


def _mask(name: str, rows: int, clean: dict[str, np.ndarray]) -> np.ndarray:
    decoder, _, layer = name.partition(".")
    if decoder == "predictor":  # begins with the Talker's states
        return np.full(rows, bool(clean["talker"].all()))
    if decoder not in clean:
        return np.ones(rows, np.bool_)
    level = clean[decoder][0 if layer == "embeds" else int(layer) if layer.isdigit() else -1]
    num_steps = rows if layer == "graph" else rows - 1 if layer == "logits" else 0
    if num_steps:  # the last rows, one a token
        return level[-rows:] if layer == "graph" else level[len(level) - rows :]
    steps = rows - 6
    return level[rows_kept(len(level) - steps, len(level))]


def _errors(mine: np.ndarray, other: np.ndarray, want: np.ndarray, mask: np.ndarray) -> Errors:
    scale = float(np.mean(np.square(want, dtype=np.float64)))
    ours, torch = (np.mean(np.square(x - want, dtype=np.float64), axis=-1)[mask] / scale for x in (mine, other))
    return Errors(
        float(ours.sum()),
        float(torch.sum()),
        int(mask.sum()),
        int((~mask).sum()),
        float(np.sqrt(ours.max(initial=0))),
        float(np.sqrt(torch.max(initial=0))),
    )
