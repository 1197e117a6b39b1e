"""The answers to all windows of a recording as one result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ms_omni.outputs import OmniOutput, Usage
from ms_omni.recordings.transcript import Segment, Transcript


@dataclass(frozen=True)
class RecordingOutput(OmniOutput):
    """text: without reasoning. token_ids: of all windows. finish_reason: "length" if the answer to any window was cut
    off. duration: seconds of the recording."""

    segments: tuple[Segment, ...] = ()
    duration: float = 0.0

    def to_dict(self, audio_path: str | None = None) -> dict[str, Any]:
        """As OmniOutput's, with the recording's duration and segments."""
        segments = [segment.as_json() for segment in self.segments]
        return {**super().to_dict(audio_path), "duration": round(self.duration, 3), "segments": segments}


def recording_output(transcript: Transcript) -> RecordingOutput:
    """transcript: complete."""
    outputs = [segment.output for segment in transcript.segments if segment.output is not None]
    names = ("prompt_tokens", "completion_tokens", "audio_tokens")
    counts = {name: sum(getattr(output.usage, name) for output in outputs) for name in names}
    return RecordingOutput(
        text=transcript.text,
        token_ids=tuple(token for output in outputs for token in output.token_ids),
        finish_reason="length" if any(segment.is_cut for segment in transcript.segments) else "stop",
        usage=Usage(**counts),
        segments=tuple(transcript.segments),
        duration=transcript.duration,
    )
