"""Writes held-out conversations whose media have given lengths and sizes: audio around the encoder's chunks of 1 s and
windows of 8 s, pictures of many sizes and proportions, videos of 2 to 20 s. score.py scores them.

python docs/tiny/boundaries.py DIR --bank HELD_OUT_BANK [--each 20] [--seed 99]
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import scenes
import sounds
from dialogue import AudioVideo, Dialogue
from dialogues import Dialogues
from held_out import write_dialogue
from scenes import Scene
from sounds import Bank, Clip

AUDIO_SECONDS = (0.5, 1.0, 2.0, 7.99, 8.0, 8.01, 15.0, 20.0)
SIZES = (
    (64, 64), (100, 75), (96, 384), (384, 96), (225, 225), (640, 480), (480, 640), (1000, 500), (1920, 1080),
    (1080, 1920), (3000, 2000),
)  # fmt: skip
VIDEO_SECONDS = (2.0, 3.0, 5.0, 8.0, 12.0, 20.0)


class Fixed(Dialogues):
    """Draws every medium with one length in seconds or one size (width, height)."""

    def __init__(self, bank: Bank, rng: random.Random, seconds: float = 0.0, size: tuple[int, int] | None = None):
        super().__init__(bank, rng, held_out=True)
        self.wanted, self.size = seconds, size

    def length(self, words: int) -> float | None:
        return self.wanted

    def seconds(self) -> float:
        return self.wanted

    def sound(self, seconds: float | None = None) -> Clip:
        return super().sound(self.wanted)

    def picture(self, count: int | None = None) -> Scene:
        return scenes.picture(self.rng, count, self.size)

    def fits(self, dialogue: Dialogue) -> bool:
        """Speech that does not fit into the clip makes it longer."""
        media = [medium for turn in dialogue.turns for medium in turn.media]
        clips = [m.clip if isinstance(m, AudioVideo) else m for m in media if not isinstance(m, Scene)]
        return all(abs(len(clip.samples) / sounds.RATE - self.wanted) < 0.011 for clip in clips)


def cases(bank: Bank, seed: int) -> list[tuple[str, Fixed, tuple[str, ...]]]:
    """(label, what draws, skills in turn)"""

    def fixed(label: str, **options: Any) -> Fixed:
        return Fixed(bank, random.Random(f"{seed}-{label}"), **options)

    out = []
    for seconds in AUDIO_SECONDS:
        label = f"audio {seconds:g} s"
        out.append((label, fixed(label, seconds=seconds), ("digits", "word", "tones")))
    for size in SIZES:
        label = f"image {size[0]}x{size[1]}"
        out.append((label, fixed(label, size=size), ("image",)))
    for kind in ("video", "audio_in_video"):
        for seconds in VIDEO_SECONDS:
            label = f"{kind} {seconds:g} s"
            out.append((label, fixed(label, seconds=seconds), (kind,)))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--each", type=int, default=20, help="conversations of each length or size")
    parser.add_argument("--seed", type=int, default=99)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    manifest = []
    for label, dialogues, skills in cases(Bank(options.bank), options.seed):
        for number in range(options.each):
            while not dialogues.fits(dialogue := dialogues.draw(skills[number % len(skills)])):
                pass
            name = f"{label}_{number}".replace(" ", "_").replace(".", "")
            manifest.append(write_dialogue(options.folder, name, dialogue) | {"skill": label})
    (options.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
