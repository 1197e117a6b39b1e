"""The table of corrected mindone classes, and how a model is built with them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mindone.transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as mindone_model

from ms_omni.models.audio_encoder import AudioAttention, AudioEncoder, AudioEncoderLayer
from ms_omni.models.code2wav import Code2Wav
from ms_omni.models.talker import CodePredictor, Talker
from ms_omni.models.thinker import Thinker, ThinkerTextModel
from ms_omni.models.vision_encoder import VisionAttention, VisionEncoder, VisionPatchEmbed

# mindone 0.5.0 class -> the subclass that stands in for it; each one's docstring gives the reason.
CORRECTIONS = {
    "Qwen3OmniMoeAudioAttention": AudioAttention,
    "Qwen3OmniMoeAudioEncoderLayer": AudioEncoderLayer,
    "Qwen3OmniMoeAudioEncoder": AudioEncoder,
    "Qwen3OmniMoeVisionAttention": VisionAttention,
    "Qwen3OmniMoeVisionPatchEmbed": VisionPatchEmbed,
    "Qwen3OmniMoeVisionEncoder": VisionEncoder,
    "Qwen3OmniMoeThinkerTextModel": ThinkerTextModel,
    "Qwen3OmniMoeThinkerForConditionalGeneration": Thinker,
    "Qwen3OmniMoeTalkerCodePredictorModelForConditionalGeneration": CodePredictor,
    "Qwen3OmniMoeTalkerForConditionalGeneration": Talker,
    "Qwen3OmniMoeCode2Wav": Code2Wav,
}


@contextmanager
def corrected_classes() -> Iterator[None]:
    """While this is active, mindone's constructors build the corrected classes in place of their own parts. The
    subclasses hold their bases by reference and are not affected."""
    original = {name: getattr(mindone_model, name) for name in CORRECTIONS}
    for name, corrected in CORRECTIONS.items():
        setattr(mindone_model, name, corrected)
    try:
        yield
    finally:
        for name, base in original.items():
            setattr(mindone_model, name, base)


def build_model(config: Any, *, with_talker: bool, dtype: Any, attn_implementation: str) -> Any:
    """mindone's Qwen3OmniMoeForConditionalGeneration of corrected parts, its weights not yet loaded.

    config: transformers' Qwen3OmniMoeConfig, not changed. with_talker False, or a checkpoint without one: no Talker and
    no Code2Wav are built. dtype: a MindSpore float type."""
    config = copy.deepcopy(config)
    config.enable_audio_output = bool(with_talker and config.enable_audio_output)
    for part in _config_parts(config):
        part._attn_implementation = attn_implementation
        part.mindspore_dtype = dtype
    # mindone's flash attention refuses a sliding window, which every layer of Code2Wav has.
    config.code2wav_config._attn_implementation = "eager"
    with corrected_classes():
        model = mindone_model.Qwen3OmniMoeForConditionalGeneration(config)
    # Not `model.to(dtype)`: from MindSpore 2.10 on that is nn.Cell's, which leaves integers alone, and mindone makes
    # Code2Wav's layer scales with ops.full, whose default is int64: a checkpoint's values would be rounded to 0.
    for parameter in model.get_parameters():
        parameter.set_dtype(dtype)
    return model.set_train(False)


def without_decoders(config: Any) -> Any:
    """A copy of transformers' Qwen3OmniMoeConfig whose text decoders have no layers."""
    config = copy.deepcopy(config)
    talker = config.talker_config
    for part in (config.thinker_config.text_config, talker.text_config, talker.code_predictor_config):
        part.num_hidden_layers = 0
    return config


def _config_parts(config: Any) -> Iterator[Any]:
    """The config and every config inside it."""
    yield config
    for value in list(vars(config).values()):
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            yield from _config_parts(value)
