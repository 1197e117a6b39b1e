"""Turns about one picture or two."""

from __future__ import annotations

import itertools
from typing import Any

import scenes
from dialogue import Talk, Turn
from phrases import NUMBERS, at, joined, plural, there_are
from scenes import Scene, Thing
from words import COLOURS, SHAPES, article, capital

# A question, its answer, and the thing it is about, if it is about one
About = tuple[str, str, Thing | None]


class PictureTalk(Talk):
    def picture(self, count: int | None = None) -> Scene:
        return scenes.picture(self.rng, count)

    def image(self) -> Any:
        scene = self.picture()
        result = self.about_picture(scene)
        return result and Turn([scene], result[0], result[1])

    def follow_up(self) -> Any:
        """A second question about the same picture, about "it" or about something else."""
        scene = self.picture()
        first = self.about_picture(scene)
        if not first:
            return None
        thing = first[2]
        if thing and self.rng.random() < 0.6:
            second: Any = self._about_it(scene, thing)
        else:
            second = self.about_picture(scene)
        return second and [Turn([scene], first[0], first[1]), Turn([], second[0], second[1])]

    def _about_it(self, scene: Scene, thing: Thing) -> tuple[str, str]:
        where = scenes.place(scene, thing)
        colour, shape = scenes.COLOUR_NAMES[thing.colour], article(SHAPES[thing.shape])
        options = [
            (self.ask("What colour is it?", "And its colour?", "Which colour does it have?"), f"It is {colour}."),
            (self.ask("What shape is it?", "And its shape?", "Which shape is it?"), f"It is {shape}."),
        ]
        if where:
            question = self.ask("Where is it?", "And where is it?", "In which part of the picture is it?")
            options += [(question, f"It is {at(where)}.")] * 2
        return self.rng.choice(options)

    def describe(self, scene: Scene) -> str | None:
        """What a picture shows, as a clause."""
        things = sorted(scene.things, key=lambda thing: thing.x)
        if not things:
            return "the picture is empty"
        if len(things) > 3:
            return f"I see {NUMBERS[len(things)]} shapes"
        if any(b.x - a.x < 0.07 * scene.width for a, b in itertools.pairwise(things)):
            return None
        return "I see " + joined([article(thing.name) for thing in things])

    def about_picture(self, scene: Scene) -> About | None:
        kind = self.rng.choices(
            ("describe", "colour", "shape", "count", "count_some", "where", "exists", "relation"),
            (14, 14, 12, 12, 12, 18, 10, 10),
        )[0]
        if kind in ("describe", "count", "count_some", "exists"):
            return getattr(self, f"_{kind}")(scene)
        if not scene.things:
            if kind == "colour":
                return f"What colour is the {self.rng.choice(SHAPES)}?", "The picture is empty.", None
            return None
        return getattr(self, f"_{kind}")(scene, self.rng.choice(scene.things))

    def _describe(self, scene: Scene) -> About | None:
        answer = self.describe(scene)
        question = self.ask(
            "What do you see?", "What is this?", "What is in the picture?", "Describe the picture.",
            "What does the picture show?", "What can you see?", "Describe the image.", "What is in the image?",
        )  # fmt: skip
        thing = scene.things[0] if len(scene.things) == 1 else None
        return (question, capital(answer) + ".", thing) if answer else None

    def _count(self, scene: Scene) -> About:
        question = self.ask(
            "How many shapes are there?", "How many objects do you see?", "Count the shapes.",
            "How many shapes are in the picture?", "How many things are there?",
        )  # fmt: skip
        return question, there_are(len(scene.things), "shape"), None

    def _count_some(self, scene: Scene) -> About:
        """Of one shape or of one colour."""
        rng = self.rng
        by_shape = rng.random() < 0.6
        group = [thing.shape if by_shape else thing.colour for thing in scene.things]
        if group and rng.random() < 0.85:
            value = rng.choice(group)
        else:
            value = rng.randrange(len(SHAPES if by_shape else COLOURS))
        name = SHAPES[value] if by_shape else scenes.COLOUR_NAMES[value] + " shape"
        question = self.ask("How many {} are there?", "How many {} do you see?", "Count the {}.")
        return question.format(plural(name)), there_are(group.count(value), name), None

    def _exists(self, scene: Scene) -> About:
        rng, things = self.rng, scene.things
        by_shape = rng.random() < 0.6
        present = bool(things) and rng.random() < 0.5
        if by_shape:
            value = rng.choice([thing.shape for thing in things]) if present else rng.randrange(len(SHAPES))
            found, name = [thing for thing in things if thing.shape == value], SHAPES[value]
        else:
            thing = rng.choice(things) if present else None
            shape, colour = (
                (thing.shape, thing.colour) if thing else (rng.randrange(len(SHAPES)), rng.randrange(len(COLOURS)))
            )
            found = [thing for thing in things if (thing.shape, thing.colour) == (shape, colour)]
            name = f"{scenes.COLOUR_NAMES[colour]} {SHAPES[shape]}"
        question = self.ask("Is there {}?", "Do you see {}?", "Is there {} in the picture?").format(article(name))
        if not found:
            return question, f"No, there is no {name}.", None
        return question, f"Yes, there is {article(name)}.", found[0] if len(found) == 1 else None

    def _colour(self, scene: Scene, thing: Thing) -> About | None:
        shapes = [other.shape for other in scene.things]
        if self.rng.random() < 0.08:
            missing = [shape for index, shape in enumerate(SHAPES) if index not in shapes]
            if missing:
                name = self.rng.choice(missing)
                return f"What colour is the {name}?", f"There is no {name}.", None
        if shapes.count(thing.shape) > 1:
            return None
        name = SHAPES[thing.shape]
        question = self.ask(
            "What colour is the {}?", "Which colour does the {} have?", "What is the colour of the {}?",
            "What color is the {}?",
        )  # fmt: skip
        return question.format(name), f"The {name} is {scenes.COLOUR_NAMES[thing.colour]}.", thing

    def _shape(self, scene: Scene, thing: Thing) -> About | None:
        if [other.colour for other in scene.things].count(thing.colour) != 1:
            return None
        colour = scenes.COLOUR_NAMES[thing.colour]
        question = self.ask(
            "Which shape is {}?", "What shape is the {} one?", "What is the {} shape?", "What is the {} object?"
        )
        return question.format(colour), f"The {colour} shape is {article(SHAPES[thing.shape])}.", thing

    def _where(self, scene: Scene, thing: Thing) -> About | None:
        where = scenes.place(scene, thing)
        if where is None:
            return None
        alone = [other.shape for other in scene.things].count(thing.shape) == 1
        name = SHAPES[thing.shape] if alone and self.rng.random() < 0.5 else thing.name
        question = self.ask(
            "Where is the {}?", "Where do you see the {}?", "In which part of the picture is the {}?",
            "What is the position of the {}?",
        )  # fmt: skip
        return question.format(name), f"The {name} is {at(where)}.", thing

    def _relation(self, scene: Scene, thing: Thing) -> About | None:
        if len(scene.things) < 2:
            return None
        other = self.rng.choice([t for t in scene.things if t is not thing])
        (x, y), (other_x, other_y) = ((t.x / scene.width, t.y / scene.height) for t in (thing, other))
        word, first, second = self.rng.choice(
            (("left of", x, other_x), ("right of", other_x, x), ("above", y, other_y), ("below", other_y, y))
        )
        if abs(first - second) < 0.1:
            return None
        question = f"Is the {thing.name} {self.ask('', 'to the ') if 'of' in word else ''}{word} the {other.name}?"
        return question, "Yes." if first < second else "No.", thing

    def two_images(self) -> Any:
        kind = self.rng.choice(("which_has", "which_has", "more", "same", "different", "describe"))
        first = self.picture(self.rng.randint(1, 3))
        if kind in ("same", "different"):
            return getattr(self, f"_{kind}")(first)
        second = self.picture(self.rng.randint(0 if kind == "describe" else 1, 4))
        ask: Any = {"which_has": self._which_has, "more": self._more, "describe": self._describe_one}[kind]
        result = ask(first, second)
        return result and Turn([first, second], *result)

    def _different(self, first: Scene) -> Turn | None:
        second, index = scenes.recoloured(self.rng, first)
        old, new = first.things[index], second.things[index]
        if [thing.shape for thing in first.things].count(old.shape) > 1:
            return None
        before, after = (scenes.COLOUR_NAMES[version.colour] for version in (old, new))
        answer = f"The {SHAPES[old.shape]} is {before} in the first picture and {after} in the second picture."
        return Turn([first, second], self.ask("What is different?", "What is the difference?", "What changed?"), answer)

    def _same(self, first: Scene) -> Turn:
        second, _ = scenes.recoloured(self.rng, first)
        answer = "No."
        if self.rng.random() < 0.5:
            second, answer = Scene(**vars(first)), "Yes."
        return Turn([first, second], self.ask("Are the pictures the same?", "Do both pictures show the same?"), answer)

    def _describe_one(self, first: Scene, second: Scene) -> tuple[str, str] | None:
        number = self.rng.randrange(2)
        answer = self.describe((first, second)[number])
        question = self.ask(
            "What do you see in the {} picture?", "What is in the {} picture?", "Describe the {} picture."
        )
        return (question.format(("first", "second")[number]), capital(answer) + ".") if answer else None

    def _more(self, first: Scene, second: Scene) -> tuple[str, str]:
        a, b = len(first.things), len(second.things)
        answer = f"The {'first' if a > b else 'second'} picture has more shapes."
        if a == b:
            answer = "Both pictures have the same."
        return self.ask("Which picture has more shapes?", "Which picture shows more objects?"), answer

    def _which_has(self, first: Scene, second: Scene) -> tuple[str, str]:
        by_shape = self.rng.random() < 0.5
        thing = self.rng.choice(self.rng.choice((first, second)).things)
        if by_shape:
            name, found = SHAPES[thing.shape], [any(t.shape == thing.shape for t in s.things) for s in (first, second)]
        else:
            name, found = thing.name, [any(t.name == thing.name for t in s.things) for s in (first, second)]
        answer = "Both pictures." if all(found) else "The first picture." if found[0] else "The second picture."
        question = self.ask("Which picture has {}?", "In which picture do you see {}?", "Which picture shows {}?")
        return question.format(article(name)), answer
