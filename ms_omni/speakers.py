"""Speech settings of a request: the speaker, and the sizes of the wave's pieces."""

from __future__ import annotations

from typing import Any

from ms_omni.errors import OmniError
from ms_omni.limits import CHUNK_FRAMES
from ms_omni.scheduling.request import Speech

DEFAULT_SPEAKER = "ethan"
# For streams: playback can begin after 4 frames, 0.3 s of speech; pieces above 25 frames, 2 s, save nothing.
FIRST_CHUNK_FRAMES = 4
STREAM_CHUNK_FRAMES = 25


def speaker_names(talker_config: Any) -> list[str]:
    """The names as the checkpoint spells them."""
    return list(talker_config.speaker_id)


def speech_of(talker_config: Any, speaker: str | None, first_chunk_frames: int, chunk_frames: int) -> Speech:
    """talker_config: of a Qwen3OmniMoeConfig. speaker: one of its names, in any case; None for Ethan, or the first
    one if there is no Ethan. Raises OmniError for an unknown speaker."""
    ids = {name.lower(): value for name, value in talker_config.speaker_id.items()}
    name = (speaker or (DEFAULT_SPEAKER if DEFAULT_SPEAKER in ids else next(iter(ids)))).lower()
    if name not in ids:
        raise OmniError(f"--speaker {speaker}: expected one of {', '.join(speaker_names(talker_config))}")
    return Speech(
        speaker_id=int(ids[name]),
        stop_id=talker_config.codec_eos_token_id,
        num_code_groups=talker_config.num_code_groups,
        first_chunk_frames=first_chunk_frames,
        chunk_frames=chunk_frames,
    )


def check_chunks(first_chunk_frames: int, chunk_frames: int) -> None:
    """Raises OmniError for pieces that are too large: a convolution of CANN takes at most 1,000,000 values along an
    axis, which some 450 frames reach, with 1920 values each and 72 frames of context."""
    for name, frames in (("first_chunk_frames", first_chunk_frames), ("chunk_frames", chunk_frames)):
        if not 1 <= frames <= CHUNK_FRAMES:
            raise OmniError(f"{name} {frames}: expected 1 to {CHUNK_FRAMES}")
