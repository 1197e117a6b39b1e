"""Conversations about pictures, sounds and videos, with the right answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import scenes
import sounds
from scenes import Scene, Thing
from sounds import Bank, Clip, NoSpeech
from speech import parts
from unrelated import unrelated_question
from words import COLOURS, DIGITS, EVERYDAY, HELLO, ONLY_IN_SENTENCES, SHAPES, SPOKEN, UNKNOWN, WHO, article, capital

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")
SPOKEN_QUESTIONS = (
    "what do you see", "how many shapes are there", *(f"what colour is the {shape}" for shape in SHAPES),
    *(f"where is the {shape}" for shape in SHAPES), *(f"is there a {shape}" for shape in SHAPES),
)  # fmt: skip
PLAIN_WORDS = (*DIGITS, *COLOURS, *SHAPES, *EVERYDAY)
ALL_WORDS = tuple(word for word in SPOKEN if word not in ONLY_IN_SENTENCES)


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


class Dialogues:
    """Draws dialogues from a random generator. `held_out` chooses the unrelated questions that training lacks."""

    def __init__(self, bank: Bank, rng: random.Random, held_out: bool = False, stage: float = 1.0):
        self.bank, self.rng, self.held_out, self.stage = bank, rng, held_out, stage

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

    def ask(self, *choices: str) -> str:
        return self.rng.choice(choices)

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

    # Pictures

    def describe(self, scene: Scene) -> str | None:
        things = sorted(scene.things, key=lambda thing: thing.x)
        if not things:
            return "the picture is empty"
        if len(things) > 3:
            return f"I see {NUMBERS[len(things)]} shapes"
        if any(b.x - a.x < 0.07 * scene.width for a, b in zip(things, things[1:])):
            return None
        return "I see " + joined([article(thing.name) for thing in things])

    def about_picture(self, scene: Scene) -> tuple[str, str, Thing | None] | None:
        """(question, answer, the thing it is about)."""
        kind = self.rng.choices(
            ("describe", "colour", "shape", "count", "count_some", "where", "exists", "relation"),
            (14, 14, 12, 12, 12, 18, 10, 10),
        )[0]
        things, rng = scene.things, self.rng
        shapes = [thing.shape for thing in things]
        colours = [thing.colour for thing in things]
        if kind == "describe":
            answer = self.describe(scene)
            thing = things[0] if len(things) == 1 else None
            question = self.ask(
                "What do you see?", "What is this?", "What is in the picture?", "Describe the picture.",
                "What does the picture show?", "What can you see?", "Describe the image.", "What is in the image?",
            )  # fmt: skip
            return (question, capital(answer) + ".", thing) if answer else None
        if kind == "count":
            answer = f"There {'is' if len(things) == 1 else 'are'} {NUMBERS[len(things)]} shape"
            answer += "" if len(things) == 1 else "s"
            question = self.ask(
                "How many shapes are there?", "How many objects do you see?", "Count the shapes.",
                "How many shapes are in the picture?", "How many things are there?",
            )  # fmt: skip
            return question, answer + ".", None
        if kind == "count_some":
            by_shape = rng.random() < 0.6
            group = shapes if by_shape else colours
            value = (
                rng.choice(group)
                if group and rng.random() < 0.85
                else rng.randrange(len(SHAPES if by_shape else COLOURS))
            )
            number = group.count(value)
            name = SHAPES[value] if by_shape else scenes.COLOUR_NAMES[value] + " shape"
            answer = (
                f"There {'is' if number == 1 else 'are'} {NUMBERS[number]} {name if number == 1 else plural(name)}."
            )
            return (
                self.ask("How many {} are there?", "How many {} do you see?", "Count the {}.").format(plural(name)),
                answer,
                None,
            )
        if kind == "exists":
            by_shape = rng.random() < 0.6
            present = bool(things) and rng.random() < 0.5
            if by_shape:
                value = rng.choice(shapes) if present else rng.randrange(len(SHAPES))
                found, name = value in shapes, SHAPES[value]
            else:
                thing = rng.choice(things) if present else None
                pair = (
                    (thing.shape, thing.colour) if thing else (rng.randrange(len(SHAPES)), rng.randrange(len(COLOURS)))
                )
                found = any((t.shape, t.colour) == pair for t in things)
                name = f"{scenes.COLOUR_NAMES[pair[1]]} {SHAPES[pair[0]]}"
            question = self.ask("Is there {}?", "Do you see {}?", "Is there {} in the picture?").format(article(name))
            if found:
                unique = [t for t in things if name in (t.name, SHAPES[t.shape])]
                return question, f"Yes, there is {article(name)}.", unique[0] if len(unique) == 1 else None
            return question, f"No, there is no {name}.", None
        if not things:
            if kind == "colour":
                return f"What colour is the {rng.choice(SHAPES)}?", "The picture is empty.", None
            return None
        thing = rng.choice(things)
        alone = shapes.count(thing.shape) == 1
        if kind == "colour":
            if rng.random() < 0.08:
                missing = [shape for index, shape in enumerate(SHAPES) if index not in shapes]
                if missing:
                    name = rng.choice(missing)
                    return f"What colour is the {name}?", f"There is no {name}.", None
            if not alone:
                return None
            name = SHAPES[thing.shape]
            question = self.ask(
                "What colour is the {}?",
                "Which colour does the {} have?",
                "What is the colour of the {}?",
                "What color is the {}?",
            )
            return question.format(name), f"The {name} is {scenes.COLOUR_NAMES[thing.colour]}.", thing
        if kind == "shape":
            if colours.count(thing.colour) != 1:
                return None
            colour = scenes.COLOUR_NAMES[thing.colour]
            question = self.ask(
                "Which shape is {}?", "What shape is the {} one?", "What is the {} shape?", "What is the {} object?"
            )
            return question.format(colour), f"The {colour} shape is {article(SHAPES[thing.shape])}.", thing
        if kind == "where":
            where = scenes.place(scene, thing)
            if where is None:
                return None
            name = SHAPES[thing.shape] if alone and rng.random() < 0.5 else thing.name
            question = self.ask(
                "Where is the {}?",
                "Where do you see the {}?",
                "In which part of the picture is the {}?",
                "What is the position of the {}?",
            )
            return question.format(name), f"The {name} is {at(where)}.", thing
        if len(things) < 2:
            return None
        other = rng.choice([t for t in things if t is not thing])
        (x, y), (other_x, other_y) = ((t.x / scene.width, t.y / scene.height) for t in (thing, other))
        word, first, second = rng.choice(
            (("left of", x, other_x), ("right of", other_x, x), ("above", y, other_y), ("below", other_y, y))
        )
        if abs(first - second) < 0.1:
            return None
        question = f"Is the {thing.name} {self.ask('', 'to the ') if 'of' in word else ''}{word} the {other.name}?"
        return question, "Yes." if first < second else "No.", thing

    def image(self) -> Any:
        scene = scenes.picture(self.rng)
        result = self.about_picture(scene)
        return result and Turn([scene], result[0], result[1])

    def follow_up(self) -> Any:
        """A second question about the same picture, about "it" or about something else."""
        scene = scenes.picture(self.rng)
        first = self.about_picture(scene)
        if not first:
            return None
        turns = [Turn([scene], first[0], first[1])]
        thing = first[2]
        if thing and self.rng.random() < 0.6:
            where = scenes.place(scene, thing)
            options = [
                (
                    self.ask("What colour is it?", "And its colour?", "Which colour does it have?"),
                    f"It is {scenes.COLOUR_NAMES[thing.colour]}.",
                ),
                (
                    self.ask("What shape is it?", "And its shape?", "Which shape is it?"),
                    f"It is {article(SHAPES[thing.shape])}.",
                ),
            ]
            if where:
                options += [
                    (
                        self.ask("Where is it?", "And where is it?", "In which part of the picture is it?"),
                        f"It is {at(where)}.",
                    )
                ] * 2
            turns.append(Turn([], *self.rng.choice(options)))
        else:
            second = self.about_picture(scene)
            if not second:
                return None
            turns.append(Turn([], second[0], second[1]))
        return turns

    def two_images(self) -> Any:
        rng = self.rng
        kind = rng.choice(("which_has", "which_has", "more", "same", "different", "describe"))
        first = scenes.picture(rng, rng.randint(1, 3))
        if kind in ("same", "different"):
            second, index = scenes.recoloured(rng, first)
            if kind == "different":
                if [t.shape for t in first.things].count(first.things[index].shape) > 1:
                    return None
                name, old, new = SHAPES[first.things[index].shape], first.things[index], second.things[index]
                before, after = (scenes.COLOUR_NAMES[version.colour] for version in (old, new))
                answer = f"The {name} is {before} in the first picture and {after} in the second picture."
                return Turn(
                    [first, second], self.ask("What is different?", "What is the difference?", "What changed?"), answer
                )
            if rng.random() < 0.5:
                second = Scene(**vars(first))
                return Turn(
                    [first, second], self.ask("Are the pictures the same?", "Do both pictures show the same?"), "Yes."
                )
            return Turn(
                [first, second], self.ask("Are the pictures the same?", "Do both pictures show the same?"), "No."
            )
        second = scenes.picture(rng, rng.randint(0 if kind == "describe" else 1, 4))
        if kind == "describe":
            number = rng.randrange(2)
            answer = self.describe((first, second)[number])
            question = self.ask(
                "What do you see in the {} picture?", "What is in the {} picture?", "Describe the {} picture."
            )
            return answer and Turn([first, second], question.format(("first", "second")[number]), capital(answer) + ".")
        if kind == "more":
            a, b = len(first.things), len(second.things)
            answer = (
                "Both pictures have the same."
                if a == b
                else f"The {'first' if a > b else 'second'} picture has more shapes."
            )
            return Turn(
                [first, second], self.ask("Which picture has more shapes?", "Which picture shows more objects?"), answer
            )
        if rng.random() < 0.5:
            value = rng.choice(rng.choice((first, second)).things).shape
            name, found = SHAPES[value], [any(t.shape == value for t in s.things) for s in (first, second)]
        else:
            thing = rng.choice(rng.choice((first, second)).things)
            name, found = thing.name, [any(t.name == thing.name for t in s.things) for s in (first, second)]
        answer = "Both pictures." if all(found) else "The first picture." if found[0] else "The second picture."
        question = self.ask("Which picture has {}?", "In which picture do you see {}?", "Which picture shows {}?")
        return Turn([first, second], question.format(article(name)), answer)

    # Sounds

    def words(self, most: int = 8) -> list[str]:
        number = min(most, self.rng.choices((1, 2, 3, 4, 5, 6, 8), (40, 18, 14, 10, 8, 6, 4))[0])
        pool = self.rng.choice((DIGITS, PLAIN_WORDS, PLAIN_WORDS, ALL_WORDS))
        return [self.rng.choice(pool) for _ in range(number)]

    def digits(self) -> Any:
        number = self.rng.choices((1, 2, 3, 4, 5, 6, 7, 10), (45, 12, 12, 9, 8, 6, 4, 4))[0]
        digits = [self.rng.choice(DIGITS) for _ in range(number)]
        clip = sounds.speech(self.rng, self.bank, digits, self.length(number))
        if number == 1:
            question = self.ask(
                "Which digit do you hear?",
                "What digit is spoken?",
                "Which number do you hear?",
                "What number is said?",
                "Which digit is it?",
            )
            return Turn([clip], question, f"I hear the digit {digits[0]}.")
        question = self.ask(
            "Which digits do you hear?",
            "What digits are spoken?",
            "Which numbers do you hear?",
            "What numbers are said?",
        )
        return Turn([clip], question, f"I hear the digits {' '.join(digits)}.")

    def length(self, words: int) -> float | None:
        """None: as long as it takes; else a clip of up to 20 s in which the words lie somewhere."""
        if self.rng.random() < 0.75:
            return None
        return max(self.rng.uniform(1, 8) if self.rng.random() < 0.6 else self.rng.uniform(8, 20), 1.6 * words)

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
        """What could have been answered to something."""
        if self.rng.random() < 0.25:
            return f"The voice says {' '.join(self.rng.choice(ALL_WORDS) for _ in range(self.rng.randint(1, 8)))}."
        texts = Dialogues(NoSpeech(), self.rng)  # type: ignore[arg-type]
        while len(answer := texts.draw().turns[-1].answer.split()) > 14:
            pass
        return " ".join(answer)

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

    def sound(self, seconds: float | None = None) -> Clip:
        kind = self.rng.choices(("tone", "beeps", "noise", "silence"), (5, 5, 1, 1))[0]
        if kind in ("noise", "silence"):
            return getattr(sounds, kind)(
                self.rng, seconds or self.rng.choice((self.rng.uniform(0.5, 3), self.rng.uniform(1, 15)))
            )
        if seconds is None and self.rng.random() < 0.2:
            seconds = self.rng.uniform(3, 16)
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
            "What do you hear?",
            "What is that sound?",
            "Describe the sound.",
            "What can you hear?",
            "What is this sound?",
        )
        kind = self.rng.random()
        if kind < 0.4 or clip.kind in ("noise", "silence"):
            if self.rng.random() < 0.25:
                question = self.ask("Does anyone speak?", "Is anyone speaking?", "Do you hear a voice?")
                return Turn([clip], question, f"No, {self.says(clip)}.")
            return Turn([clip], generic, capital(self.says(clip)) + ".")
        if clip.kind == "tone":
            if clip.about[0]:
                question = self.ask("Is the tone high or low?", "Is it a high or a low tone?", "How high is the tone?")
                return Turn([clip], question, f"The tone is {clip.about[0]}.")
            question = self.ask(
                "Does the tone rise or fall?", "Is the tone rising or falling?", "How does the tone move?"
            )
            return Turn([clip], question, f"The tone is {clip.about[1]}.")
        if kind < 0.75 or not clip.about[1]:
            question = self.ask(
                "How many beeps do you hear?",
                "How many beeps are there?",
                "Count the beeps.",
                "How often does it beep?",
            )
            return Turn([clip], question, capital(self.says(clip)) + ".")
        return Turn(
            [clip],
            self.ask("Are the beeps fast or slow?", "Is the rhythm fast or slow?"),
            f"The beeps are {clip.about[1]}.",
        )

    def voice(self) -> Any:
        words = self.words()
        clip = sounds.speech(self.rng, self.bank, words)
        question = self.ask("Does anyone speak?", "Is anyone speaking?", "Do you hear a voice?")
        return Turn([clip], question, f"Yes, {self.says(clip)}.")

    def picture_and_sound(self) -> Any:
        scene = scenes.picture(self.rng)
        clip = sounds.speech(self.rng, self.bank, self.words(4)) if self.rng.random() < 0.6 else self.sound()
        kind = self.rng.random()
        media: list[Medium] = [scene, clip] if self.rng.random() < 0.7 else [clip, scene]
        if kind < 0.4:
            seen = self.describe(scene)
            question = self.ask(
                "What do you see and hear?",
                "What can you see and hear?",
                "Describe what you see and hear.",
                "What do you see and what do you hear?",
            )
            return seen and Turn(media, question, f"{capital(seen)} and {self.says(clip)}.")
        if kind < 0.7:
            if clip.kind == "speech":
                return Turn(
                    media, self.ask("What is said?", "What does the voice say?"), capital(self.says(clip)) + "."
                )
            return Turn(media, self.ask("What do you hear?", "What can you hear?"), capital(self.says(clip)) + ".")
        result = self.about_picture(scene)
        return result and Turn(media, result[0], result[1])

    def spoken_question(self) -> Any:
        """The question is in the sound, there is no text."""
        scene = scenes.picture(self.rng)
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

    # Videos

    def seconds(self) -> float:
        return self.rng.uniform(2, 6) if self.rng.random() < 0.7 else self.rng.uniform(6, 20)

    def happens(self, scene: Scene) -> str | None:
        """What a video shows, as a clause."""
        things = sorted(scene.things, key=lambda thing: thing.direction is None)
        if len(things) > 2:
            return None
        if len(things) == 2 and bool(things[0].direction) == bool(things[1].direction):
            a, b = things
            swap = a.name > b.name  # neither comes first by itself: the order of the alphabet
            things = [b, a] if swap else [a, b]
        return joined([f"{article(thing.name)} {moves(thing)}" for thing in things])

    def about_video(self, scene: Scene) -> tuple[str, str] | None:
        rng, things = self.rng, scene.things
        movers = [thing for thing in things if thing.direction]
        kind = rng.choices(("happens", "what_moves", "where_to", "count", "colour"), (30, 22, 32, 8, 8))[0]
        if kind == "happens":
            answer = self.happens(scene)
            question = self.ask(
                "What happens?",
                "What happens in the video?",
                "Describe the video.",
                "What do you see?",
                "What does the video show?",
                "What do you see in the video?",
            )
            return (question, capital(answer) + ".") if answer else None
        if kind == "what_moves":
            if len(movers) > 1:
                return None
            answer = f"The {movers[0].name} moves." if movers else "Nothing moves."
            return self.ask("What moves?", "What is moving?", "Which object moves?", "Which shape moves?"), answer
        if kind == "where_to":
            thing = rng.choice(things)
            name = (
                SHAPES[thing.shape]
                if [t.shape for t in things].count(thing.shape) == 1 and rng.random() < 0.6
                else thing.name
            )
            question = self.ask(
                "Where does the {} move?",
                "In which direction does the {} move?",
                "Which way does the {} go?",
                "Where does the {} go?",
                "How does the {} move?",
            )
            answer = f"The {name} {moves(thing)}." if thing.direction else f"The {name} does not move."
            return question.format(name), answer
        if kind == "count":
            one = len(things) == 1
            answer = f"There {'is' if one else 'are'} {NUMBERS[len(things)]} shape{'' if one else 's'}."
            return self.ask("How many shapes are there?", "How many objects do you see?"), answer
        thing = rng.choice(things)
        if [t.shape for t in things].count(thing.shape) > 1:
            return None
        name = SHAPES[thing.shape]
        return f"What colour is the {name}?", f"The {name} is {scenes.COLOUR_NAMES[thing.colour]}."

    def video(self) -> Any:
        scene = scenes.video(self.rng, self.seconds())
        result = self.about_video(scene)
        return result and Turn([scene], *result)

    def audio_in_video(self) -> Any:
        seconds = self.seconds()
        scene = scenes.video(self.rng, seconds)
        if self.rng.random() < 0.75:
            words = self.words(2 if seconds < 4 else 5)
            clip = sounds.speech(self.rng, self.bank, words, seconds)
        else:
            clip = self.sound(seconds)
        limit = round(seconds * sounds.RATE) // 160 * 160
        if len(clip.samples) > limit + 16000:
            return None
        medium = AudioVideo(scene, clip)
        kind = self.rng.random()
        if kind < 0.35:
            result = self.about_video(scene)
            return result and Turn([medium], *result)
        if kind < 0.7:
            if clip.kind == "speech":
                question = self.ask(
                    "What is said?",
                    "What does the voice say?",
                    "What is spoken?",
                    "What is said in the video?",
                    "What is said meanwhile?",
                )
            else:
                question = self.ask("What do you hear?", "What can you hear?", "What is heard in the video?")
            return Turn([medium], question, capital(self.says(clip)) + ".")
        seen = self.happens(scene)
        question = self.ask(
            "What do you see and hear?",
            "What can you see and hear?",
            "What happens and what is said?",
            "Describe what you see and hear.",
            "What happens and what do you hear?",
        )
        return seen and Turn([medium], question, f"{capital(seen)} and {self.says(clip)}.")

    def everything(self) -> Any:
        """A picture, a sound, and a video with or without its sound, in one turn."""
        scene = scenes.picture(self.rng, self.rng.randint(1, 3))
        seen = self.describe(scene)
        clip = sounds.speech(self.rng, self.bank, self.words(3))
        seconds = self.rng.uniform(2, 5)
        film = scenes.video(self.rng, seconds, count=1)
        happens = self.happens(film)
        if not seen or not happens:
            return None
        answer = f"{seen}. {capital(self.says(clip))}. {capital(happens)}."
        medium: Medium = film
        if self.rng.random() < 0.5:
            sound = sounds.speech(self.rng, self.bank, self.words(2), seconds)
            if len(sound.samples) > (seconds + 1) * sounds.RATE:
                return None
            medium = AudioVideo(film, sound)
            answer = f"{seen}. {capital(self.says(clip))}. {capital(happens)} and {self.says(sound)}."
        question = self.ask(
            "What do you see and hear?", "What can you see and hear?", "Describe what you see and hear."
        )
        return Turn([scene, clip, medium], question, capital(answer))

    # Text

    def unknown(self) -> Any:
        rng = self.rng
        question = unrelated_question(rng, self.held_out)
        kind = rng.random()
        if kind < 0.65:
            return Turn([], question, UNKNOWN)
        if kind < 0.75:
            return Turn([scenes.picture(rng)], question, UNKNOWN)
        if kind < 0.83:
            clip = sounds.speech(rng, self.bank, self.words(3))
            return Turn([clip], question, UNKNOWN)
        if kind < 0.87:
            return Turn([scenes.video(rng, 2.5)], question, UNKNOWN)
        if kind < 0.92:  # a second turn
            scene = scenes.picture(rng)
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
                "Who are you?",
                "What are you?",
                "What can you do?",
                "Introduce yourself.",
                "What do you know?",
                "Are you a model?",
                "What is your name?",
                "Say who you are.",
            )
            return Turn([], question, WHO)
        return Turn(
            [],
            self.ask("Hello", "Hello!", "Hi", "Hi there", "Good morning.", "Hello, how are you?", "Hey!", "Say hello."),
            HELLO,
        )


def joined(items: list[str]) -> str:
    """a, b and c"""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def plural(name: str) -> str:
    return name + ("es" if name.endswith("s") else "s")


def at(where: str) -> str:
    return (
        f"in the {where}"
        if where == "middle"
        else f"at the {where}"
        if " " in where
        else f"on the {where}"
        if where in ("left", "right")
        else f"at the {where}"
    )


def moves(thing: Thing) -> str:
    if not thing.direction:
        return "stays"
    return f"moves {thing.direction}" if thing.direction in ("up", "down") else f"moves to the {thing.direction}"


SKILLS: dict[str, tuple[Callable[[Dialogues], Any], float]] = {
    "image": (Dialogues.image, 26),
    "follow_up": (Dialogues.follow_up, 9),
    "two_images": (Dialogues.two_images, 13),
    "digits": (Dialogues.digits, 8),
    "word": (Dialogues.word, 7),
    "transcript": (Dialogues.transcript, 18),
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
