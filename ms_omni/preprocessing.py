"""Turns a conversation into the inputs of a request, on any thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ms_omni.config import EngineConfig, SamplingParams
from ms_omni.errors import OmniError
from ms_omni.inputs.conversation import validate_conversation
from ms_omni.inputs.processor import InputProcessor
from ms_omni.models.talker_prompt import talker_prompt_tokens
from ms_omni.scheduling.request import Prepared
from ms_omni.stages import stage
from ms_omni.tasks.variant import Variant, check_captioner

# 100 mel frames, a second, are 13 tokens of the audio encoder
AUDIO_TOKENS_S = 13
NO_MEDIA: Mapping[str, int] = {}
# A question, messages, or a processor's arrays of one prompt
Conversation = str | Mapping[str, Any] | list[dict[str, Any]]


class Preprocessor:
    """Reads the media and runs the processor. Apart from the engine, so that a running request does not keep that
    alive."""

    def __init__(self, processor: InputProcessor, config: Any, settings: EngineConfig, variant: Variant):
        """config: transformers' Qwen3OmniMoeConfig. settings: how media are read, and how long conversations may be.
        variant: of the checkpoint; a Captioner takes exactly one recording."""
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
        """Raises OmniError for a conversation that cannot be used, TypeError or ValueError for invalid arrays."""
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
    """Whether a list holds several conversations rather than the messages of one."""
    return isinstance(conversation, (list, tuple)) and any(
        isinstance(item, (str, list, tuple)) or (isinstance(item, Mapping) and "input_ids" in item)
        for item in conversation
    )


def check_positions(
    prompt_tokens: int, sampling: SamplingParams, limit: int, media_tokens: Mapping[str, int] = NO_MEDIA
) -> None:
    """limit: max_position_embeddings of the Thinker, or fewer where the user allows fewer. media_tokens: of the prompt,
    by their names in `Usage`. Raises OmniError for a prompt, or a prompt and the most new tokens, beyond it."""
    if prompt_tokens > limit:
        raise OmniError(
            f"the prompt has {prompt_tokens} tokens, the model takes {limit} (max_position_embeddings, "
            f"--max-model-len): {_what_would_fit(prompt_tokens - limit, media_tokens)}"
        )
    new = sampling.thinker_max_new_tokens or 0
    if prompt_tokens + new > limit:
        raise OmniError(
            f"--thinker-max-new-tokens {new}: with a prompt of {prompt_tokens} tokens that is beyond the {limit} "
            "positions of the model (max_position_embeddings, --max-model-len); expected at most "
            f"{limit - prompt_tokens}"
        )


def _what_would_fit(too_many: int, media_tokens: Mapping[str, int]) -> str:
    """A suggestion: how much of the sound or video would fit, if shortening it is enough."""
    kind = max(("audio_tokens", "video_tokens"), key=lambda name: media_tokens.get(name, 0))
    tokens = media_tokens.get(kind, 0)
    if tokens <= too_many:
        return "shorten the text or the media, or lower --max-pixels or a video's fps"
    share = f"{100 * (tokens - too_many) / tokens:.0f} %"
    if kind == "video_tokens":
        return f"about {share} of the video fits; cut it, or lower its fps, max_pixels or total_pixels"
    seconds = (tokens - too_many) / AUDIO_TOKENS_S
    return (
        f"about {seconds:.0f} s of sound fit ({share} of it); cut it, or ask --task speech-recognition or "
        "speech-translation, which take recordings of any length"
    )
