"""Who can speak: the speakers of a checkpoint, known before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ms_omni.cli.request import check_speaker, known_speakers
from ms_omni.errors import OmniError


@dataclass(frozen=True)
class Voices:
    """speakers: by name; None where the checkpoint has no Talker."""

    checkpoint: Path
    speakers: list[str] | None

    @classmethod
    def of(cls, checkpoint: Path) -> Voices:
        return cls(checkpoint, known_speakers(checkpoint))

    def check_speech(self, what: str) -> None:
        """Raises OmniError, naming what asks for speech, where there is none."""
        if self.speakers is None:
            raise OmniError(
                f"{what}: the checkpoint {self.checkpoint} has no Talker and cannot speak; ask for text alone or use "
                "an Instruct checkpoint"
            )

    def check_speaker(self, speaker: str, where: str) -> None:
        """Raises OmniError, after `where`, for a name that is none."""
        if self.speakers is not None:
            check_speaker(speaker, self.speakers, where)
