"""Turns about a video without sound."""

from __future__ import annotations

from typing import Any

import scenes
from dialogue import Talk, Turn
from phrases import joined, moves, there_are
from scenes import Scene
from words import SHAPES, article, capital


class VideoTalk(Talk):
    def video(self) -> Any:
        scene = scenes.video(self.rng, self.seconds())
        result = self.about_video(scene)
        return result and Turn([scene], *result)

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
        kinds = ("happens", "what_moves", "where_to", "count_things", "colour_of")
        kind = self.rng.choices(kinds, (30, 22, 32, 8, 8))[0]
        return getattr(self, f"_{kind}")(scene)

    def _happens(self, scene: Scene) -> tuple[str, str] | None:
        answer = self.happens(scene)
        question = self.ask(
            "What happens?", "What happens in the video?", "Describe the video.", "What do you see?",
            "What does the video show?", "What do you see in the video?",
        )  # fmt: skip
        return (question, capital(answer) + ".") if answer else None

    def _what_moves(self, scene: Scene) -> tuple[str, str] | None:
        movers = [thing for thing in scene.things if thing.direction]
        if len(movers) > 1:
            return None
        answer = f"The {movers[0].name} moves." if movers else "Nothing moves."
        return self.ask("What moves?", "What is moving?", "Which object moves?", "Which shape moves?"), answer

    def _where_to(self, scene: Scene) -> tuple[str, str]:
        thing = self.rng.choice(scene.things)
        alone = [other.shape for other in scene.things].count(thing.shape) == 1
        name = SHAPES[thing.shape] if alone and self.rng.random() < 0.6 else thing.name
        question = self.ask(
            "Where does the {} move?", "In which direction does the {} move?", "Which way does the {} go?",
            "Where does the {} go?", "How does the {} move?",
        )  # fmt: skip
        return question.format(name), f"The {name} {moves(thing) if thing.direction else 'does not move'}."

    def _count_things(self, scene: Scene) -> tuple[str, str]:
        answer = there_are(len(scene.things), "shape")
        return self.ask("How many shapes are there?", "How many objects do you see?"), answer

    def _colour_of(self, scene: Scene) -> tuple[str, str] | None:
        thing = self.rng.choice(scene.things)
        if [other.shape for other in scene.things].count(thing.shape) > 1:
            return None
        name = SHAPES[thing.shape]
        return f"What colour is the {name}?", f"The {name} is {scenes.COLOUR_NAMES[thing.colour]}."
