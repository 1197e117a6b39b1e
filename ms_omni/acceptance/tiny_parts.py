"""The built-in tiny model's encoders and Code2Wav at work on the built-in media, on the device of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.acceptance.compare import array_of
from ms_omni.checkpoint.built_in import DIRECTORY
from ms_omni.inputs.cast import cast_inputs
from ms_omni.inputs.processor import InputProcessor
from ms_omni.models.load import load_network

ASSETS = DIRECTORY.parent
RECORDED = Path(__file__).with_name("recorded.npz")
FRAMES = 12


def media_inputs() -> dict[str, np.ndarray]:
    """What the processor makes of the built-in picture and spoken words."""
    parts = [
        {"type": "image", "image": str(ASSETS / "tiny_shapes.png")},
        {"type": "audio", "audio": str(ASSETS / "tiny_words.wav")},
        {"type": "text", "text": "?"},
    ]
    prepared = InputProcessor.from_pretrained(DIRECTORY).prepare([{"role": "user", "content": parts}])
    names = ("pixel_values", "image_grid_thw", "input_features", "feature_attention_mask")
    return {name: np.asarray(prepared.arrays[name]) for name in names}


class TinyParts:
    """All of the tiny model but its decoders."""

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
        """codes: int32 (groups, frames). The wave at once, or in pieces of so many frames."""
        code2wav: Any = self._model.code2wav
        given = Tensor(codes[None].astype(np.int32))
        made = code2wav(given) if chunk_frames is None else code2wav.chunked_decode(given, chunk_frames)
        return array_of(made).reshape(-1)
