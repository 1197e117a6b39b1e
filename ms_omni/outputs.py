"""Results of the engine: one frozen output, and the chunks of a stream. CLI, tests and reports all print from it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.errors import OmniError

# One codec frame is 80 ms of speech: 24 000 Hz / 12.5 Hz = 1920 samples (Qwen3-Omni's Code2Wav upsampling 8*5*4*3*2*2).
SAMPLE_RATE = 24_000
# Half a step of 24 bits is 6e-8, so a reader gets the samples back within 1e-6; 16 bits would lose 1.5e-5.
WAVE_SUBTYPE = "PCM_24"


@dataclass(frozen=True)
class Usage:
    """Token counts of one answer. `image_tokens`, `audio_tokens` and `video_tokens` are part of `prompt_tokens`."""

    prompt_tokens: int
    completion_tokens: int
    image_tokens: int = 0
    audio_tokens: int = 0
    video_tokens: int = 0


@dataclass(frozen=True)
class AudioOutput:
    """Speech of one answer.

    samples: float32, (num_samples,), in [-1, 1], at `sample_rate` Hz.
    codes: int32, (num_code_groups, num_frames), the codec frames that `samples` was made from.
    finish_reason: "stop" when the Talker ended the speech itself, "length" when it reached its maximum.
    """

    samples: np.ndarray
    codes: np.ndarray
    finish_reason: str
    sample_rate: int = SAMPLE_RATE

    def save(self, path: str | Path) -> None:
        """Writes a mono WAV file of 24-bit integers, which appears whole or not at all. Raises OmniError."""
        import soundfile

        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            soundfile.write(temporary, self.samples, self.sample_rate, format="WAV", subtype=WAVE_SUBTYPE)
            os.replace(temporary, path)
        except (OSError, soundfile.SoundFileError) as error:
            raise OmniError(f"{path}: could not be written ({error})") from error
        finally:
            temporary.unlink(missing_ok=True)

    @property
    def num_samples(self) -> int:
        """Length of the wave, at `sample_rate`."""
        return int(self.samples.shape[-1])

    @property
    def num_frames(self) -> int:
        """Codec frames, of 80 ms each."""
        return int(self.codes.shape[-1])


@dataclass(frozen=True)
class OmniOutput:
    """One answer. `stats` holds seconds (`*_s`) and counts per stage."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: str
    usage: Usage
    audio: AudioOutput | None = None
    stats: dict[str, float] = field(default_factory=dict)

    def to_dict(self, audio_path: str | None = None) -> dict[str, Any]:
        """The `--json` document. `audio_path`: where the caller wrote the wave."""
        audio = None
        if self.audio is not None:
            audio = {
                "path": audio_path,
                "sample_rate": self.audio.sample_rate,
                "num_samples": self.audio.num_samples,
                "num_frames": self.audio.num_frames,
                "finish_reason": self.audio.finish_reason,
            }
        return {
            "text": self.text,
            "token_ids": list(self.token_ids),
            "finish_reason": self.finish_reason,
            "audio": audio,
            "usage": asdict(self.usage),
            "stats": self.stats,
        }


@dataclass(frozen=True)
class TextDelta:
    """New text of a stream, with the Thinker ids it came from (possibly more ids than visible characters)."""

    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class AudioChunk:
    """The next piece of speech: float32, (num_samples,), 24 000 Hz. Chunks concatenate to the whole wave."""

    samples: np.ndarray
    sample_rate: int = SAMPLE_RATE


@dataclass(frozen=True)
class StreamEnd:
    """Last item of a stream: the same OmniOutput that `generate` returns."""

    output: OmniOutput


StreamChunk = TextDelta | AudioChunk | StreamEnd
