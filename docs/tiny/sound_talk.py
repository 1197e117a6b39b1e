"""Turns about what is heard: words, digits, tones, beeps, voices."""

from __future__ import annotations

from typing import Any

import sounds
from dialogue import Talk, Turn
from phrases import NUMBERS
from sounds import Clip
from words import COLOURS, DIGITS, EVERYDAY, ONLY_IN_SENTENCES, SHAPES, SPOKEN, article, capital

PLAIN_WORDS = (*DIGITS, *COLOURS, *SHAPES, *EVERYDAY)
ALL_WORDS = tuple(word for word in SPOKEN if word not in ONLY_IN_SENTENCES)


class SoundTalk(Talk):
    def words(self, most: int = 8) -> list[str]:
        number = min(most, self.rng.choices((1, 2, 3, 4, 5, 6, 8), (40, 18, 14, 10, 8, 6, 4))[0])
        pool = self.rng.choice((DIGITS, PLAIN_WORDS, PLAIN_WORDS, ALL_WORDS))
        return [self.rng.choice(pool) for _ in range(number)]

    def length(self, words: int) -> float | None:
        """None: as long as it takes; else a clip of up to 20 s in which the words lie somewhere."""
        if self.rng.random() < 0.75:
            return None
        seconds = self.rng.uniform(0.5, 8) if self.rng.random() < 0.6 else self.rng.uniform(8, 20)
        return max(seconds, 1.6 * words if words > 1 else 0)

    def digits(self) -> Any:
        number = self.rng.choices((1, 2, 3, 4, 5, 6, 7, 10), (45, 12, 12, 9, 8, 6, 4, 4))[0]
        digits = [self.rng.choice(DIGITS) for _ in range(number)]
        clip = sounds.speech(self.rng, self.bank, digits, self.length(number))
        if number == 1:
            question = self.ask(
                "Which digit do you hear?", "What digit is spoken?", "Which number do you hear?",
                "What number is said?", "Which digit is it?",
            )  # fmt: skip
            return Turn([clip], question, f"I hear the digit {digits[0]}.")
        question = self.ask(
            "Which digits do you hear?", "What digits are spoken?", "Which numbers do you hear?",
            "What numbers are said?",
        )  # fmt: skip
        return Turn([clip], question, f"I hear the digits {' '.join(digits)}.")

    def word(self) -> Any:
        words = [self.rng.choice(PLAIN_WORDS) for _ in range(self.rng.choices((1, 2, 3, 4), (7, 1, 1, 1))[0])]
        clip = sounds.speech(self.rng, self.bank, words, self.length(len(words)))
        if len(words) == 1:
            question = self.ask(
                "Which word do you hear?", "What word is spoken?", "Which word is said?", "What word is it?"
            )
            return Turn([clip], question, f"I hear the word {words[0]}.")
        end = self.ask("first", "last")
        question = self.ask("What is the {} word?", "Which word is {}?", "Which word comes {}?").format(end)
        return Turn([clip], question, f"The {end} word is {words[0 if end == 'first' else -1]}.")

    def voice(self) -> Any:
        words = self.words()
        clip = sounds.speech(self.rng, self.bank, words)
        question = self.ask("Does anyone speak?", "Is anyone speaking?", "Do you hear a voice?")
        return Turn([clip], question, f"Yes, {self.says(clip)}.")

    def sound(self, seconds: float | None = None) -> Clip:
        """Anything but a voice."""
        kind = self.rng.choices(("tone", "beeps", "noise", "silence"), (5, 5, 1, 1))[0]
        if kind in ("noise", "silence"):
            return getattr(sounds, kind)(
                self.rng, seconds or self.rng.choice((self.rng.uniform(0.4, 3), self.rng.uniform(1, 20)))
            )
        if seconds is None and self.rng.random() < 0.2:
            seconds = self.rng.choice((self.rng.uniform(0.5, 3), self.rng.uniform(3, 20)))
        return getattr(sounds, kind)(self.rng, seconds)

    def says(self, clip: Clip) -> str:
        """What is heard, as a clause."""
        if clip.kind == "speech":
            return f"the voice says {' '.join(clip.heard)}"
        if clip.kind == "tone":
            return f"I hear {article(clip.about[0] or clip.about[1])} tone"
        if clip.kind == "beeps":
            return f"I hear {NUMBERS[clip.about[0]]} beep{'' if clip.about[0] == 1 else 's'}"
        return f"I hear {clip.kind}"

    def tones(self) -> Any:
        clip = self.sound()
        generic = self.ask(
            "What do you hear?", "What is that sound?", "Describe the sound.", "What can you hear?",
            "What is this sound?",
        )  # fmt: skip
        kind = self.rng.random()
        if kind < 0.4 or clip.kind in ("noise", "silence"):
            if self.rng.random() < 0.25:
                question = self.ask("Does anyone speak?", "Is anyone speaking?", "Do you hear a voice?")
                return Turn([clip], question, f"No, {self.says(clip)}.")
            return Turn([clip], generic, capital(self.says(clip)) + ".")
        return self._about_tone(clip) if clip.kind == "tone" else self._about_beeps(clip, counts=kind < 0.75)

    def _about_tone(self, clip: Clip) -> Turn:
        pitch, movement = clip.about
        if pitch:
            question = self.ask("Is the tone high or low?", "Is it a high or a low tone?", "How high is the tone?")
            return Turn([clip], question, f"The tone is {pitch}.")
        question = self.ask("Does the tone rise or fall?", "Is the tone rising or falling?", "How does the tone move?")
        return Turn([clip], question, f"The tone is {movement}.")

    def _about_beeps(self, clip: Clip, counts: bool) -> Turn:
        _, rhythm = clip.about
        if counts or not rhythm:
            question = self.ask(
                "How many beeps do you hear?", "How many beeps are there?", "Count the beeps.",
                "How often does it beep?",
            )  # fmt: skip
            return Turn([clip], question, capital(self.says(clip)) + ".")
        question = self.ask("Are the beeps fast or slow?", "Is the rhythm fast or slow?")
        return Turn([clip], question, f"The beeps are {rhythm}.")
