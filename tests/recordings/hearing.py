"""A recogniser that hears words by their times, and badly at the edges of what it is given."""

import random
from dataclasses import dataclass

SYLLABLES = [
    "ba", "ce", "di", "fo", "gu", "ha", "ki", "lo", "mu", "ne", "pa", "re", "si", "to", "vu", "wa", "zy", "chi",
]  # fmt: skip


@dataclass(frozen=True)
class Said:
    word: str
    start: float
    end: float


def speech(random: random.Random, seconds: float, words: list[str], pause: float = 0.0) -> list[Said]:
    """Words of 0.12 to 0.6 s back to back, one after the other; pause: the share of words with up to 2 s behind."""
    said, now = [], 0.0
    while now < seconds:
        length = random.uniform(0.12, 0.6)
        said.append(Said(random.choice(words), now, now + length))
        now += length + (random.uniform(0.1, 2) if random.random() < pause else 0)
    return said


def vocabulary(random: random.Random, size: int) -> list[str]:
    return ["".join(random.choices(SYLLABLES, k=random.randint(1, 3))) for _ in range(size)]


def heard(said: list[Said], start: float, end: float, random: random.Random, errors: float = 0.0) -> str:
    """Of what is said between two times, as a sentence: a word that is cut is heard as the part that is there, as
    another, or not at all; others are misheard with a probability of `errors`."""
    words = []
    for one in said:
        if one.end <= start or one.start >= end:
            continue
        share = (min(one.end, end) - max(one.start, start)) / (one.end - one.start)
        if share < 1:
            letters = max(1, round(share * len(one.word)))
            part = one.word[-letters:] if one.start < start else one.word[:letters]
            words += random.choice([[part], [], ["mhm"], [one.word]] if share > 0.5 else [[part], [], ["mhm"]])
        else:
            words.append("mhm" if random.random() < errors else one.word)
    text = " ".join(words)
    return text[:1].upper() + text[1:] + random.choice([".", "", "?"])
