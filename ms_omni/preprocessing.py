"""A conversation to the inputs of a request, on whatever thread has time for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ms_omni.config import EngineConfig, SamplingParams
from ms_omni.inputs.conversation import validate_conversation
from ms_omni.inputs.processor import InputProcessor
from ms_omni.models.talker_prompt import talker_prompt_tokens
from ms_omni.prompt_length import check_positions
from ms_omni.scheduling.request import Prepared
from ms_omni.stages import stage
from ms_omni.tasks.variant import Variant, check_captioner

# A question, messages, or a processor's arrays of one prompt
Conversation = str | Mapping[str, Any] | list[dict[str, Any]]


class Preprocessor:
    """Reads the media and runs the processor. Apart from the engine, which a request under way does not keep alive."""

    def __init__(self, processor: InputProcessor, config: Any, settings: EngineConfig, variant: Variant):
        """config: transformers' Qwen3OmniMoeConfig. settings: how media are read, and how long conversations may be.
        variant: of the checkpoint; a Captioner takes but one recording."""
        self._processor, self._config, self._variant = processor, config, variant
        self._reader, self._access = settings.media_reader, settings.media_access
        positions = config.thinker_config.text_config.max_position_embeddings
        self._max_tokens = min(positions, settings.max_model_len or positions)

    def prepare(
        self,
        conversation: Conversation,
        sampling: SamplingParams,
        *,
        speak: bool,
        use_audio_in_video: bool,
        fps: float | None,
        tools: list[dict[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> Prepared:
        """Raises OmniError for what cannot be used, TypeError or ValueError for a processor's arrays that are none."""
        with stage("processor"):
            if isinstance(conversation, Mapping):
                made = self._processor.accept(conversation)
            else:
                if isinstance(conversation, str):
                    conversation = [{"role": "user", "content": conversation}]
                if self._variant is Variant.CAPTIONER:
                    check_captioner(validate_conversation(conversation), self._variant, "the checkpoint")
                made = self._processor.prepare(
                    conversation, use_audio_in_video, fps, self._reader, self._access, tools, chat_template_kwargs
                )
            prompt_ids = made.arrays["input_ids"][0]
            check_positions(len(prompt_ids), sampling, self._max_tokens, made.usage_counts)
            num_talker_prompt = talker_prompt_tokens(self._config, prompt_ids) if speak else 0
            return Prepared(made.arrays, prompt_ids, num_talker_prompt, made.usage_counts)


def are_several(conversation: Any) -> bool:
    """Whether a list holds conversations, not the messages of one."""
    return isinstance(conversation, (list, tuple)) and any(
        isinstance(item, (str, list, tuple)) or (isinstance(item, Mapping) and "input_ids" in item)
        for item in conversation
    )
