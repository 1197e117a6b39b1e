"""The released model's sizes with random weights: one layer of each decoder, as a checkpoint in the host's memory."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np

from ms_omni.acceptance.bench import random
from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.checkpoint.weight_specs import WeightSpec, weight_specs
from ms_omni.planning.model import plan_config
from ms_omni.runtime.decoder_spec import DecoderSpec

# decoder -> prefix of its weights' names
DECODERS = {
    "Thinker": "thinker.model.",
    "Talker": "talker.model.",
    "code predictor": "talker.code_predictor.model.",
}
# With --quick. Each token still chooses as many as in the released model.
FEW_EXPERTS = 12
_EXPERT = re.compile(r"experts\.(\d+)\.")
_ROLL = 37  # rows by which an expert's matrices are rolled against the one before


def released_config(quick: bool) -> Any:
    """The released Instruct model's configuration with one layer a decoder; with few experts if quick."""
    config = copy.deepcopy(plan_config("instruct"))
    for text in decoder_configs(config).values():
        text.num_hidden_layers = 1
        if quick and hasattr(text, "num_experts"):
            text.num_experts = FEW_EXPERTS
    return config


def decoder_configs(config: Any) -> dict[str, Any]:
    """The configuration of each of DECODERS."""
    talker = config.talker_config
    parts = (config.thinker_config.text_config, talker.text_config, talker.code_predictor_config)
    return dict(zip(DECODERS, parts, strict=True))


def decoder_specs(quick: bool) -> dict[str, DecoderSpec]:
    """The sizes of one layer of each decoder."""
    return {name: DecoderSpec.from_config(text) for name, text in decoder_configs(released_config(quick)).items()}


def inner_size(decoder: str) -> int:
    """Of one expert, or of the dense network of a decoder without experts."""
    text = decoder_configs(released_config(quick=False))[decoder]
    return int(text.moe_intermediate_size if hasattr(text, "num_experts") else text.intermediate_size)


class RandomCheckpoint:
    """Reads like a CheckpointReader. Each expert has the first one's matrices with rolled rows: different, and quickly
    made."""

    def __init__(self, config: Any, dtype: Any):
        """dtype: a MindSpore float type."""
        self._dtype = numpy_dtype(dtype)
        self._specs = {spec.name: spec for spec in weight_specs(config)}
        self._first_experts: dict[str, np.ndarray] = {}

    def read(self, name: str) -> np.ndarray:
        """The weight of this name."""
        expert = _EXPERT.search(name)
        if expert is None:
            return self._make(name, self._specs[name])
        first = _EXPERT.sub("experts.0.", name)
        if first not in self._first_experts:
            self._first_experts[first] = self._make(first, self._specs[first])
        return np.roll(self._first_experts[first], _ROLL * int(expert[1]), axis=0)

    def release(self, name: str) -> None:
        """Nothing to do: only the first experts are kept."""

    def names(self) -> list[str]:
        """Of all weights."""
        return list(self._specs)

    def dtype(self, name: str) -> np.dtype:
        """The same for all weights."""
        return self._dtype

    def shape(self, name: str) -> tuple[int, ...]:
        """Without making the weight."""
        return self._specs[name].shape

    def _make(self, name: str, spec: WeightSpec) -> np.ndarray:
        values = random(name, *spec.shape, dtype=np.float32)
        return (values * np.float32(spec.std) + np.float32(spec.mean)).astype(self._dtype)
