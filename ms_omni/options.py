"""Options of a request to the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from ms_omni.config import SamplingParams
from ms_omni.limits import CHUNK_FRAMES


class Options(TypedDict, total=False):
    """Keyword arguments of `OmniEngine.submit`, `generate` and `stream`.

    return_audio: speak (default: if the Talker is loaded).
    speaker: a name of `OmniEngine.speakers` (default Ethan, or the checkpoint's first).
    use_audio_in_video: hear the videos' sound.
    fps: the frame rate that the processor assumes for videos.
    sampling: fields that are None come from the checkpoint, then from transformers.
    stop: texts that end the answer; they are not part of it.
    tools: functions that the model may call, which the chat template writes into the prompt: a list of
        {"type": "function", "function": {"name", "description", "parameters"}}, parameters a JSON schema.
    chat_template_kwargs: further variables of the checkpoint's chat template.
    progress: called with (stage, done, total) by the waiting thread; stages thinker, talker, code2wav.
    first_chunk_frames, chunk_frames: codec frames of the first piece of the wave, and at most of the others (default:
        4 and 25; 300 for `generate`)."""

    return_audio: bool | None
    speaker: str | None
    use_audio_in_video: bool
    fps: float | None
    sampling: SamplingParams | None
    stop: str | Sequence[str]
    tools: list[dict[str, Any]] | None
    chat_template_kwargs: Mapping[str, Any] | None
    progress: Callable[[str, int, int], None] | None
    first_chunk_frames: int
    chunk_frames: int


# For a wave that is not streamed: few, large pieces
WHOLE_WAVE: Options = {"first_chunk_frames": CHUNK_FRAMES, "chunk_frames": CHUNK_FRAMES}
