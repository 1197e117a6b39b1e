"""Whether a prompt and its answer fit the positions of the model."""

from __future__ import annotations

from collections.abc import Mapping

from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError

# 100 mel frames, a second, are 13 tokens of the audio encoder
AUDIO_TOKENS_S = 13
NO_MEDIA: Mapping[str, int] = {}


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
    """Of sound or video, where without it the rest would fit."""
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
