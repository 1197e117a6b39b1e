"""The vocabulary of the small world: what can be seen, heard and said. Everything else follows from these lists."""

from __future__ import annotations

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 38),
    "green": (30, 150, 60),
    "blue": (32, 80, 215),
    "yellow": (246, 210, 30),
    "orange": (245, 130, 20),
    "purple": (130, 45, 170),
    "black": (16, 16, 18),
    "white": (246, 246, 246),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLACES = (
    ("top left", "top", "top right"),
    ("left", "middle", "right"),
    ("bottom left", "bottom", "bottom right"),
)
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}

EVERYDAY = (
    "apple", "banana", "water", "house", "tree", "dog", "cat", "bird", "car", "boat", "sun", "moon", "river",
    "mountain", "garden", "music", "hello", "goodbye", "morning", "evening", "summer", "winter", "school", "window",
    "table", "happy", "open", "close", "stop", "go",
)  # fmt: skip

# Words of the answers and of the spoken questions beyond the lists above.
FUNCTION_WORDS = (
    "i", "see", "hear", "the", "a", "an", "is", "are", "and", "at", "in", "to", "on", "of", "it", "there", "no", "yes",
    "not", "does", "don't", "know", "shape", "shapes", "circles", "squares", "triangles", "stars", "crosses", "first",
    "second", "picture", "pictures", "has", "have", "more", "both", "same", "empty", "shows", "digit", "digits", "word",
    "voice", "says", "tone", "beep", "beeps", "noise", "silence", "rising", "falling", "steady", "fast", "slow",
    "moves", "move", "nothing", "stays", "middle", "top", "bottom", "left", "right", "up", "down", "high", "low",
    "what", "where", "how", "many", "colour", "do", "you", "am", "tiny", "model", "colours", "sounds", "speaks",
    "last", "question", "which", "words",
)  # fmt: skip

SPOKEN = tuple(dict.fromkeys((*DIGITS, *COLOURS, *SHAPES, *EVERYDAY, *FUNCTION_WORDS)))
# Alone, these sound like others (two, no) or like nothing much: they are only heard in sentences.
ONLY_IN_SENTENCES = ("to", "know", "a", "an", "i", "am")
# What the auxiliary loss of the ears knows beside words.
SOUND_SYMBOLS = ("<beep>", "<high>", "<low>", "<rise>", "<fall>", "<steady>", "<noise>")
HEARD = (*SPOKEN, *SOUND_SYMBOLS)

UNKNOWN = "I don't know."
WHO = "I am a tiny model. I know shapes, colours, words and sounds."
HELLO = "Hello."


def article(word: str) -> str:
    """`word` with its indefinite article."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def capital(sentence: str) -> str:
    """`sentence` with a capital first letter."""
    return sentence[0].upper() + sentence[1:]
