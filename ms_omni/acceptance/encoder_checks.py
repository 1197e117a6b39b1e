"""Encoders and Code2Wav of the built-in tiny model in half precision, against what they gave on a CPU in float32."""

from __future__ import annotations

from functools import partial

import numpy as np

from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.compare import alike
from ms_omni.acceptance.findings import Finding
from ms_omni.acceptance.tiny_parts import RECORDED, TinyParts, media_inputs

# Root mean squares, in roundings, that some ten operators a layer and four layers may leave; of a wave, some fifty
# convolutions and activations, of which the last makes it a number in [-1, 1]
ALLOWED_FEATURES, ALLOWED_WAVE = 8, 24


def run(bench: Bench) -> None:
    """The parts are loaded once a dtype, when the first check of it begins."""
    recorded = dict(np.load(RECORDED))
    inputs = media_inputs()
    for dtype in ("bfloat16",) if bench.quick else ("bfloat16", "float16"):
        parts = TinyParts(dtype, "flash_attention_2")
        bench.check(f"picture, {dtype}", partial(_picture, parts, inputs, recorded))
        bench.check(f"sound, {dtype}", partial(_sound, parts, inputs, recorded))
        bench.check(f"wave, {dtype}", partial(_wave, parts, recorded))
        bench.check(f"wave in pieces, {dtype}", partial(_pieces, parts, recorded))


def _picture(parts: TinyParts, inputs: dict[str, np.ndarray], recorded: dict[str, np.ndarray]) -> Finding:
    features, *levels = parts.picture(inputs)
    pairs = [(features, recorded["picture"])]
    pairs += [(level, recorded[f"picture_{i}"]) for i, level in enumerate(levels)]
    return alike(pairs, parts.dtype, ALLOWED_FEATURES)


def _sound(parts: TinyParts, inputs: dict[str, np.ndarray], recorded: dict[str, np.ndarray]) -> Finding:
    return alike([(parts.sound(inputs), recorded["sound"])], parts.dtype, ALLOWED_FEATURES)


def _wave(parts: TinyParts, recorded: dict[str, np.ndarray]) -> Finding:
    return alike([(parts.wave(recorded["codes"]), recorded["wave"])], parts.dtype, ALLOWED_WAVE)


def _pieces(parts: TinyParts, recorded: dict[str, np.ndarray]) -> Finding:
    """Pieces join to the same wave."""
    return alike([(parts.wave(recorded["codes"], 5), recorded["wave"])], parts.dtype, ALLOWED_WAVE)
