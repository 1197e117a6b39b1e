"""Questions that the tiny model has no business answering, made from frames and topics; some are held out."""

from __future__ import annotations

import random

_NOUNS = """
weather tomorrow capital France Germany Japan president king queen history war peace money price gold silver stock bank
doctor medicine fever cancer hospital recipe soup bread cheese pasta rice coffee tea wine beer sugar salt pizza
football tennis chess game team player goal match olympics medal computer phone internet program code python java
keyboard screen battery robot machine engine train plane rocket satellite planet Mars Venus Jupiter galaxy universe
atom electron energy gravity light speed temperature oxygen carbon iron copper chemistry physics biology mathematics
equation number prime integral theorem geometry algebra poem novel story author Shakespeare Goethe painter Picasso
song singer concert guitar piano violin movie film actor director television newspaper journalist election law court
judge police crime prison tax salary job boss office company customer market shop clothes shoes shirt dress fashion
horse cow sheep elephant lion tiger whale shark snake spider butterfly rose tulip forest desert ocean island volcano
earthquake storm snow rain wind cloud rainbow city village street bridge tower church museum library university teacher
student exam homework language grammar English Spanish Chinese Latin mother father brother sister friend baby child
birthday wedding holiday Christmas Easter religion god soul dream love happiness meaning life death time year century
dinosaur dragon wizard magic ghost pirate castle knight sword shield treasure map compass ship captain sailor fish
""".split()
_HELD_OUT_NOUNS = """
Berlin Brazil elevator umbrella bicycle penguin mushroom democracy inflation vaccine telescope orchestra sandwich
glacier passport calendar dentist lawyer hammer ladder pillow carpet candle mirror kangaroo giraffe cinema theatre
""".split()
_FRAMES = (
    "What is the {n}?", "What is a {n}?", "Who invented the {n}?", "Who is the {n} of {m}?", "Why is the {n} so {a}?",
    "How does a {n} work?", "How do I make {n}?", "How old is the {n}?", "How much does a {n} cost?", "How far is {n}?",
    "Tell me about {n}.", "Tell me a joke about a {n}.", "Write a poem about {n}.", "Explain {n} to me.",
    "Can you explain {n}?", "When was the {n} built?", "When did {n} begin?", "Where can I buy a {n}?",
    "Where is {n} on the map?", "Do you like {n}?", "Do you have a {n}?", "Is {n} better than {m}?",
    "What is the difference between {n} and {m}?", "What is the capital of {n}?", "What is the price of {n}?",
    "What do you think about {n}?", "Who wrote {n}?", "Who won the {n}?", "Which {n} is the best?",
    "Should I buy a {n} or a {m}?", "Give me a recipe for {n}.", "Translate {n} into {m}.", "Summarise the {n}.",
    "How many people live in {n}?", "What time is it?", "What is your favourite {n}?", "Why do we need {n}?",
    "What happened to the {n}?", "Will the {n} change?", "What causes {n}?", "Name a famous {n}.", "Spell {n}.",
    "How heavy is the {n}?", "Is it going to rain?", "What day is it today?", "How are you feeling?",
    "What is {i} plus {j}?", "What is {i} times {j}?", "Compute {i} minus {j}.", "What is the square root of {i}?",
    "Are you a {n}?", "Can I eat {n}?", "What colour is {n}?", "How many {n} are in a {m}?", "Please help me with {n}.",
    "I need advice about {n}.", "What should I know about {n}?", "List three facts about {n}.", "Does {n} exist?",
    "Who was the first {n}?", "What does {n} mean?", "How long does {n} take?", "Why does the {n} {v}?",
    "Is the {n} {a}?", "Where does {n} come from?", "Sing a song about {n}.", "Recommend a good {n}.",
    "Book a {n} for me.", "Play some {n}.", "Call my {n}.", "Turn on the {n}.", "Open the {n}.", "Set an alarm.",
    "Who is this person?", "What is her name?", "What brand is this {n}?", "Which city is this?", "Is this {n} real?",
    "Read the text in the picture.", "What does the sign say?", "What animal is this?", "Is the person happy?",
    "What is the weather like?", "Who is speaking?", "Which song is this?", "Who sings this song?",
)  # fmt: skip
_HELD_OUT_FRAMES = (
    "What would happen without {n}?", "How can I learn {n}?", "Is there a cure for {n}?", "Which country has {n}?",
    "Describe the life of {n}.", "Who discovered {n}?", "Could you write an essay on {n}?", "How tall is a {n}?",
    "Compare {n} with {m}.", "What year was {n} founded?", "Why are people afraid of {n}?", "What rhymes with {n}?",
    "Are {n} dangerous?", "How is {n} made?", "Where should I travel to see {n}?", "Define {n}.",
)  # fmt: skip
_ADJECTIVES = "big small cold hot old new strange famous dangerous expensive cheap beautiful important slow".split()
_VERBS = "fall grow sing break change stop shine burn sleep fly hurt smell run".split()


def unrelated_question(rng: random.Random, held_out: bool = False) -> str:
    """One question; the held-out ones use frames and topics that training never shows."""
    frame = rng.choice(_HELD_OUT_FRAMES if held_out else _FRAMES)
    nouns = _HELD_OUT_NOUNS if held_out else _NOUNS
    question = frame.format(
        n=rng.choice(nouns), m=rng.choice(nouns), a=rng.choice(_ADJECTIVES), v=rng.choice(_VERBS),
        i=rng.randint(2, 99), j=rng.randint(2, 99),
    )  # fmt: skip
    if not held_out and rng.random() < 0.1:
        question = question.lower()
    if not held_out and rng.random() < 0.1:
        question = question.rstrip("?.")
    return question
