"""Who speaks, and in which pieces: what a request asks of the Talker and of Code2Wav."""

from __future__ import annotations

from typing import Any

from ms_omni.errors import OmniError
from ms_omni.limits import CHUNK_FRAMES
from ms_omni.scheduling.request import Speech

DEFAULT_SPEAKER = "ethan"
# Of a stream: 4 frames are 0.3 s of speech, enough to begin with; pieces that grow beyond 25, 2 s, save nothing.
FIRST_CHUNK_FRAMES = 4
STREAM_CHUNK_FRAMES = 25


def speaker_names(talker_config: Any) -> list[str]:
    """As the checkpoint writes them."""
    return list(talker_config.speaker_id)


def speech_of(talker_config: Any, speaker: str | None, first_chunk_frames: int, chunk_frames: int) -> Speech:
    """talker_config: of a Qwen3OmniMoeConfig. speaker: one of its names, in letters of any size; None for Ethan, or for
    the first one. Raises OmniError for a speaker that it does not have."""
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
    """A convolution of CANN takes at most 1,000,000 values along an axis: with 1920 a frame, and 72 frames of context,
    some 450 frames are too many. Raises OmniError."""
    for name, frames in (("first_chunk_frames", first_chunk_frames), ("chunk_frames", chunk_frames)):
        if not 1 <= frames <= CHUNK_FRAMES:
            raise OmniError(f"{name} {frames}: expected 1 to {CHUNK_FRAMES}")
