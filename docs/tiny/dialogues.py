"""Conversations about pictures, sounds and videos, with the right answers: all kinds, each as often as it is learnt."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import scenes
import sounds
from dialogue import Dialogue, Turn
from mixed_talk import MixedTalk
from sound_talk import ALL_WORDS
from sounds import Bank, NoSpeech
from speech import parts
from unrelated import unrelated_question
from words import HELLO, UNKNOWN, WHO


class Dialogues(MixedTalk):
    """Draws dialogues from a random generator. `held_out` chooses the unrelated questions that training lacks."""

    def __init__(self, bank: Bank, rng: random.Random, held_out: bool = False):
        super().__init__(bank, rng)
        self.held_out = held_out

    def draw(self, skill: str | None = None) -> Dialogue:
        """One dialogue, of the named skill or any."""
        if skill is None:
            skill = self.rng.choices(list(SKILLS), [weight for _, weight in SKILLS.values()])[0]
        while True:
            turns = SKILLS[skill][0](self)
            if turns:
                break
        dialogue = Dialogue(skill, turns if isinstance(turns, list) else [turns])
        if self.rng.random() < 0.12:
            dialogue.system = self.ask("You are a helpful assistant.", "Answer in one short sentence.", "Be brief.")
        for turn in dialogue.turns:
            turn.question = self._varied(turn.question)
        return dialogue

    def _varied(self, question: str) -> str:
        kind = self.rng.random()
        if kind < 0.06:
            return question.lower()
        if kind < 0.1:
            return question.rstrip("?.")
        if kind < 0.14:
            return "Please tell me: " + question[:1].lower() + question[1:] if question else question
        if kind < 0.19 and question:
            return question + " Answer in one short sentence."
        return question

    def transcript(self) -> Any:
        kind = self.rng.random() if self.bank.own else self.rng.random() * 0.6
        if kind < 0.3:
            clip = sounds.spoken_sentence(
                self.rng, self.bank, None if self.rng.random() < 0.8 else self.rng.uniform(4, 20)
            )
        elif kind >= 0.6:  # somebody's answer, word by word: in the model's own voice, or in any
            answer = self.answer()
            if kind < 0.88:
                clip = sounds.own_voice(self.rng, self.bank, answer)
            else:
                clip = sounds.speech(self.rng, self.bank, [word for word, _ in parts(answer) if word[0] != "<"])
        else:
            words = self.words()
            clip = sounds.speech(self.rng, self.bank, words, self.length(len(words)))
        question = self.ask(
            "What is said?", "What does the voice say?", "Write down what you hear.", "What do you hear?",
            "Transcribe the audio.", "What is spoken?", "What was said?",
        )  # fmt: skip
        return Turn([clip], question, f"The voice says {' '.join(clip.heard)}.")

    def answer(self) -> str:
        """What could have been answered to something; long answers more often than they are given."""
        if self.rng.random() < 0.25:
            return f"The voice says {' '.join(self.rng.choice(ALL_WORDS) for _ in range(self.rng.randint(1, 16)))}."
        texts = Dialogues(NoSpeech(), self.rng)  # type: ignore[arg-type]
        candidates = [texts.draw().turns[-1].answer for _ in range(self.rng.choice((1, 1, 2, 5)))]
        return max(candidates, key=len)

    def unknown(self) -> Any:
        """What the model cannot know, with and without media."""
        rng = self.rng
        question = unrelated_question(rng, self.held_out)
        kind = rng.random()
        if kind < 0.65:
            return Turn([], question, UNKNOWN)
        if kind < 0.75:
            return Turn([self.picture()], question, UNKNOWN)
        if kind < 0.83:
            clip = sounds.speech(rng, self.bank, self.words(3))
            return Turn([clip], question, UNKNOWN)
        if kind < 0.87:
            return Turn([scenes.video(rng, 2.5)], question, UNKNOWN)
        if kind < 0.92:  # a second turn
            scene = self.picture()
            first = self.about_picture(scene)
            return first and [Turn([scene], first[0], first[1]), Turn([], question, UNKNOWN)]
        question = self.ask(  # about media that are not there
            "What do you see?", "What colour is the circle?", "How many shapes are there?", "Which digit do you hear?",
            "What is said?", "What moves?", "Where is the star?", "Which word do you hear?", "What do you hear?",
        )  # fmt: skip
        return Turn([], question, UNKNOWN)

    def small_talk(self) -> Any:
        if self.rng.random() < 0.6:
            question = self.ask(
                "Who are you?", "What are you?", "What can you do?", "Introduce yourself.", "What do you know?",
                "Are you a model?", "What is your name?", "Say who you are.",
            )  # fmt: skip
            return Turn([], question, WHO)
        greeting = self.ask(
            "Hello", "Hello!", "Hi", "Hi there", "Good morning.", "Hello, how are you?", "Hey!", "Say hello."
        )
        return Turn([], greeting, HELLO)


# The weight of each kind among the dialogues of training
SKILLS: dict[str, tuple[Callable[[Dialogues], Any], float]] = {
    "image": (Dialogues.image, 26),
    "follow_up": (Dialogues.follow_up, 11),
    "two_images": (Dialogues.two_images, 18),
    "digits": (Dialogues.digits, 8),
    "word": (Dialogues.word, 7),
    "transcript": (Dialogues.transcript, 20),
    "tones": (Dialogues.tones, 7),
    "voice": (Dialogues.voice, 1.5),
    "picture_and_sound": (Dialogues.picture_and_sound, 5),
    "spoken_question": (Dialogues.spoken_question, 5),
    "video": (Dialogues.video, 10),
    "audio_in_video": (Dialogues.audio_in_video, 9),
    "everything": (Dialogues.everything, 2),
    "unknown": (Dialogues.unknown, 5),
    "small_talk": (Dialogues.small_talk, 1),
}
