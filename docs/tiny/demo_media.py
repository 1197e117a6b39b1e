"""Writes the demo's picture, sound and video: things that the tiny model knows.

python docs/tiny/demo_media.py DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from draw import write_picture, write_sound, write_video
from espeak import Voice, speak
from scenes import COLOUR_NAMES, Scene, Thing
from sounds import RATE, Clip
from words import COLOURS, SHAPES

LIGHT = ((238, 240, 244), (225, 228, 234))
VOICE = Voice("en-us+m5", 150, 50)


def thing(colour: str, shape: str, x: float, y: float, r: float, end: tuple[float, float] | None = None) -> Thing:
    return Thing(SHAPES.index(shape), COLOUR_NAMES.index(colour), COLOURS[colour], x, y, r, 0.0, end)


def said(words: list[str], seconds: float) -> Clip:
    """Words with a short pause between them, padded to `seconds`."""
    gap = np.zeros(RATE // 5, np.float32)
    wave = np.concatenate([piece for word in words for piece in (gap, speak(word, VOICE, RATE))])
    wave = np.pad(wave * 0.5 / np.abs(wave).max(), (0, max(0, round(seconds * RATE) - len(wave))))
    return Clip(wave[: round(seconds * RATE)], "speech", tuple(words))


def write_demo_media(folder: Path) -> None:
    things = [
        thing("red", "circle", 60, 60, 40), thing("blue", "square", 165, 130, 48),
        thing("yellow", "triangle", 265, 75, 44),
    ]  # fmt: skip
    write_picture(folder / "tiny_shapes.png", Scene(320, 200, LIGHT, things))
    write_sound(folder / "tiny_words.wav", said(["hello", "seven"], 2.0))
    ball = thing("red", "circle", 35, 70, 26, end=(175, 70))
    scene = Scene(210, 140, ((60, 64, 80), (40, 44, 58)), [ball], seconds=3.2)
    write_video(folder / "tiny_ball.mp4", scene, said(["go", "right"], 3.2), fps=25)


if __name__ == "__main__":
    write_demo_media(Path(sys.argv[1]))
