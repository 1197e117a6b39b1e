"""Encoders and Code2Wav of the built-in tiny model in half precision, against what they gave on a CPU in float32."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.compare import array_of, close_rms
from ms_omni.acceptance.findings import Finding
from ms_omni.checkpoint.built_in import DIRECTORY
from ms_omni.inputs.cast import cast_inputs
from ms_omni.inputs.processor import InputProcessor
from ms_omni.models.load import load_network

RECORDED = Path(__file__).with_name("recorded.npz")
# Root mean squares, in roundings, that some ten operators a layer and four layers may leave; of a wave, some fifty
# convolutions and activations, of which the last makes it a number in [-1, 1]
ALLOWED_FEATURES, ALLOWED_WAVE = 8, 24


def run(bench: Bench) -> None:
    """Each part in half precision, on the device of this process."""
    recorded = dict(np.load(RECORDED))
    inputs = media_inputs()
    for dtype in ("bfloat16",) if bench.quick else ("bfloat16", "float16"):
        parts = TinyParts(dtype, "flash_attention_2")
        bench.check(f"picture, {dtype}", partial(_picture, parts, inputs, recorded))
        bench.check(f"sound, {dtype}", partial(_sound, parts, inputs, recorded))
        bench.check(f"wave, {dtype}", partial(_wave, parts, recorded))
        bench.check(f"wave in pieces, {dtype}", partial(_wave, parts, recorded, chunk_frames=5))


def _picture(parts: TinyParts, inputs: dict[str, np.ndarray], recorded: dict[str, np.ndarray]) -> Finding:
    features, *levels = parts.picture(inputs)
    pairs = [(features, recorded["picture"])]
    pairs += [(level, recorded[f"picture_{i}"]) for i, level in enumerate(levels)]
    return close_rms(pairs, parts.dtype, ALLOWED_FEATURES)


def _sound(parts: TinyParts, inputs: dict[str, np.ndarray], recorded: dict[str, np.ndarray]) -> Finding:
    return close_rms([(parts.sound(inputs), recorded["sound"])], parts.dtype, ALLOWED_FEATURES)


def _wave(parts: TinyParts, recorded: dict[str, np.ndarray], chunk_frames: int | None = None) -> Finding:
    return close_rms([(parts.wave(recorded["codes"], chunk_frames), recorded["wave"])], parts.dtype, ALLOWED_WAVE)


def media_inputs() -> dict[str, np.ndarray]:
    """What the processor makes of the built-in picture and spoken words."""
    parts = [
        {"type": "image", "image": str(DIRECTORY.parent / "tiny_shapes.png")},
        {"type": "audio", "audio": str(DIRECTORY.parent / "tiny_words.wav")},
        {"type": "text", "text": "?"},
    ]
    prepared = InputProcessor.from_pretrained(DIRECTORY).prepare([{"role": "user", "content": parts}])
    names = ("pixel_values", "image_grid_thw", "input_features", "feature_attention_mask")
    return {name: np.asarray(prepared.arrays[name]) for name in names}


class TinyParts:
    """The tiny model without its decoders."""

    def __init__(self, dtype: str, attention: str):
        """attention: eager or flash_attention_2."""
        self.dtype = dtype
        self._model = load_network(
            DIRECTORY, dtype=getattr(ms, dtype), attn_implementation=attention, with_decoders=False
        )

    def picture(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Features of the picture, and one array for each level of deepstack."""
        cast = cast_inputs({"pixel_values": inputs["pixel_values"]}, self.dtype)
        features, levels = self._model.thinker.visual(cast["pixel_values"], grid_thw=inputs["image_grid_thw"])
        return [array_of(features), *(array_of(level) for level in levels)]

    def sound(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Features of the spoken words."""
        cast = cast_inputs({"input_features": inputs["input_features"]}, self.dtype)
        mask = inputs["feature_attention_mask"]
        return array_of(self._model.thinker.get_audio_features(cast["input_features"], mask))

    def wave(self, codes: np.ndarray, chunk_frames: int | None = None) -> np.ndarray:
        """codes: int32 (groups, frames). The wave, made at once or in pieces of chunk_frames frames."""
        code2wav: Any = self._model.code2wav
        given = Tensor(codes[None].astype(np.int32))
        made = code2wav(given) if chunk_frames is None else code2wav.chunked_decode(given, chunk_frames)
        return array_of(made).reshape(-1)
