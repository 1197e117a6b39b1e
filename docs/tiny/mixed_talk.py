"""Turns in which something is seen and something is heard."""

from __future__ import annotations

from typing import Any

import scenes
import sounds
from dialogue import AudioVideo, Medium, Turn
from phrases import NUMBERS, at
from picture_talk import PictureTalk
from scenes import Scene
from sound_talk import SoundTalk
from sounds import Clip
from video_talk import VideoTalk
from words import SHAPES, capital

SPOKEN_QUESTIONS = (
    "what do you see", "how many shapes are there", *(f"what colour is the {shape}" for shape in SHAPES),
    *(f"where is the {shape}" for shape in SHAPES), *(f"is there a {shape}" for shape in SHAPES),
)  # fmt: skip


class MixedTalk(PictureTalk, SoundTalk, VideoTalk):
    def picture_and_sound(self) -> Any:
        scene = self.picture()
        clip = sounds.speech(self.rng, self.bank, self.words(4)) if self.rng.random() < 0.6 else self.sound()
        kind = self.rng.random()
        media: list[Medium] = [scene, clip] if self.rng.random() < 0.7 else [clip, scene]
        if kind < 0.4:
            seen = self.describe(scene)
            question = self.ask(
                "What do you see and hear?", "What can you see and hear?", "Describe what you see and hear.",
                "What do you see and what do you hear?",
            )  # fmt: skip
            return seen and Turn(media, question, f"{capital(seen)} and {self.says(clip)}.")
        if kind < 0.7:
            questions = ("What do you hear?", "What can you hear?")
            if clip.kind == "speech":
                questions = ("What is said?", "What does the voice say?")
            return Turn(media, self.ask(*questions), capital(self.says(clip)) + ".")
        result = self.about_picture(scene)
        return result and Turn(media, result[0], result[1])

    def spoken_question(self) -> Any:
        """The question is in the sound, there is no text."""
        scene = self.picture()
        spoken = self.rng.choice(SPOKEN_QUESTIONS)
        answer = self._answer_spoken(scene, spoken)
        if answer is None:
            return None
        clip = sounds.spoken_question(self.rng, self.bank, spoken)
        return Turn([scene, clip], self.ask("", "", "Answer the spoken question.", "Answer the question."), answer)

    def _answer_spoken(self, scene: Scene, spoken: str) -> str | None:
        if spoken == "what do you see":
            seen = self.describe(scene)
            return seen and capital(seen) + "."
        number = len(scene.things)
        if spoken == "how many shapes are there":
            return f"There {'is' if number == 1 else 'are'} {NUMBERS[number]} shape{'' if number == 1 else 's'}."
        name = spoken.split()[-1]
        found = [thing for thing in scene.things if SHAPES[thing.shape] == name]
        if spoken.startswith("is there"):
            return f"Yes, there is a {name}." if found else f"No, there is no {name}."
        if len(found) != 1:
            return None if found else f"There is no {name}."
        if spoken.startswith("what colour"):
            return f"The {name} is {scenes.COLOUR_NAMES[found[0].colour]}."
        where = scenes.place(scene, found[0])
        return where and f"The {name} is {at(where)}."

    def audio_in_video(self) -> Any:
        seconds = self.seconds()
        scene = scenes.video(self.rng, seconds)
        if self.rng.random() < 0.75:
            words = self.words(2 if seconds < 4 else 5)
            clip = sounds.speech(self.rng, self.bank, words, seconds)
        else:
            clip = self.sound(seconds)
        limit = round(seconds * sounds.RATE) // 160 * 160
        if len(clip.samples) > limit + sounds.RATE:
            return None
        result = self._about_audio_video(scene, clip)
        return result and Turn([AudioVideo(scene, clip)], *result)

    def _about_audio_video(self, scene: Scene, clip: Clip) -> tuple[str, str] | None:
        kind = self.rng.random()
        if kind < 0.35:
            return self.about_video(scene)
        if kind < 0.7:
            questions = ("What do you hear?", "What can you hear?", "What is heard in the video?")
            if clip.kind == "speech":
                questions = (
                    "What is said?", "What does the voice say?", "What is spoken?", "What is said in the video?",
                    "What is said meanwhile?",
                )  # fmt: skip
            return self.ask(*questions), capital(self.says(clip)) + "."
        seen = self.happens(scene)
        question = self.ask(
            "What do you see and hear?", "What can you see and hear?", "What happens and what is said?",
            "Describe what you see and hear.", "What happens and what do you hear?",
        )  # fmt: skip
        return (question, f"{capital(seen)} and {self.says(clip)}.") if seen else None

    def everything(self) -> Any:
        """A picture, a sound, and a video with or without its sound, in one turn."""
        scene = self.picture(self.rng.randint(1, 3))
        seen = self.describe(scene)
        clip = sounds.speech(self.rng, self.bank, self.words(3))
        seconds = self.rng.uniform(2, 5)
        film = scenes.video(self.rng, seconds, count=1)
        happens = self.happens(film)
        if not seen or not happens:
            return None
        answer = f"{seen}. {capital(self.says(clip))}. {capital(happens)}"
        medium: Medium = film
        if self.rng.random() < 0.5:
            sound = sounds.speech(self.rng, self.bank, self.words(2), seconds)
            if len(sound.samples) > (seconds + 1) * sounds.RATE:
                return None
            medium = AudioVideo(film, sound)
            answer += f" and {self.says(sound)}"
        question = self.ask(
            "What do you see and hear?", "What can you see and hear?", "Describe what you see and hear."
        )
        return Turn([scene, clip, medium], question, capital(answer) + ".")
