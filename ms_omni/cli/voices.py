"""The speakers of a checkpoint, known before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ms_omni.checkpoint.config import has_talker, read_json
from ms_omni.errors import OmniError, did_you_mean


@dataclass(frozen=True)
class Voices:
    """speakers: by name; None where the checkpoint has no Talker."""

    checkpoint: Path
    speakers: list[str] | None

    @classmethod
    def of(cls, checkpoint: Path) -> Voices:
        """From config.json, read without transformers."""
        config = read_json(checkpoint / "config.json")
        if not has_talker(config):
            return cls(checkpoint, None)
        return cls(checkpoint, list(config["talker_config"].get("speaker_id") or {}))

    @property
    def can_speak(self) -> bool:
        """Whether the checkpoint has a Talker."""
        return self.speakers is not None

    def check_speech(self, what: str) -> None:
        """Raises OmniError, naming what asks for speech, where there is none."""
        if not self.can_speak:
            raise OmniError(
                f"{what}: the checkpoint {self.checkpoint} has no Talker and cannot speak; ask for text alone or use "
                "an Instruct checkpoint"
            )

    def check_speaker(self, speaker: str, where: str) -> None:
        """Raises OmniError, after `where`, the flag or key, for a name that is none. Without a Talker any name is."""
        known = self.speakers
        if known is not None and speaker.lower() not in (name.lower() for name in known):
            guess = did_you_mean(speaker.lower(), known)
            raise OmniError(f"{where} {speaker}: unknown speaker{guess}; expected one of {', '.join(known)}")
