"""What a conversation is, and what every kind of them is drawn with."""

from __future__ import annotations

import random
from dataclasses import dataclass

from scenes import Scene
from sounds import Bank, Clip


@dataclass
class AudioVideo:
    """A video with the sound in it."""

    scene: Scene
    clip: Clip


Medium = Scene | Clip | AudioVideo


@dataclass
class Turn:
    """What the user shows and asks, and the answer."""

    media: list[Medium]
    question: str
    answer: str


@dataclass
class Dialogue:
    """skill: for the scores. Only the last answer is scored; all are learnt."""

    skill: str
    turns: list[Turn]
    system: str = ""


class Talk:
    """Draws turns from a random generator; a method returns None for a draw that gives no fair question."""

    def __init__(self, bank: Bank, rng: random.Random):
        self.bank, self.rng = bank, rng

    def ask(self, *choices: str) -> str:
        return self.rng.choice(choices)
