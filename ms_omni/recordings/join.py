"""Joins the texts of two windows that overlap, by the words that both have heard."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

# Nobody says more words, or characters of Chinese or Japanese, in a second
_MOST_WORDS_S = 10.0
# Of an alignment, in matched words. A word that is there in one text alone, or that is another in the other
_GAP, _OTHER = 0.5, 0.3
# Unmatched words at the edge of a window, where a word may be cut in half: the first, and each further one
_EDGE_FIRST, _EDGE_MORE = 0.1, 0.4
# So many unmatched words in a row end an alignment
_LONGEST_GAP = 5
# A word more or less than the overlap should hold. Above one half on each side: of a text that repeats one word,
# no more is taken for heard twice than fits into the overlap.
_UNEXPECTED = 0.51
# What an alignment must be worth. One character of Chinese is found by chance, a word hardly.
_LEAST, _LEAST_WIDE = 0.5, 1.5


@dataclass(frozen=True)
class Word:
    """key: what is compared. start, end: its place in the text; what is behind it up to the next word is punctuation and
    space."""

    key: str
    start: int
    end: int


def words_of(text: str) -> list[Word]:
    """Letters, digits and what belongs to them; each character of Chinese and Japanese is a word of its own."""
    words: list[Word] = []
    start = -1
    for place, char in enumerate(text + " "):
        is_part = _is_part(char)
        if start >= 0 and (not is_part or is_wide(char)):
            words.append(_word(text, start, place))
            start = -1
        if is_part and is_wide(char):
            words.append(_word(text, place, place + 1))
        elif is_part and start < 0 and not _is_apostrophe(char):
            start = place
    return words


def reach(overlap: float) -> int:
    """How many words at the end of the one text and at the start of the other a join may change. overlap: seconds."""
    return math.ceil(overlap * _MOST_WORDS_S)


@dataclass(frozen=True)
class Joint:
    """Two texts without what both have: `before`, a space or nothing, `behind`."""

    before: str
    between: str
    behind: str


def join(before: str, behind: str, overlap: float, words_per_s: float) -> Joint | None:
    """The texts of a window and of the next. None where no common words are found: both are to be kept whole, so that
    nothing is lost.

    Only the last `reach(overlap)` words of `before` and the first of `behind` are looked at. overlap: seconds that both
    windows have heard. words_per_s: how fast is spoken, about."""
    most = reach(overlap)
    left, right = words_of(before)[-most:], words_of(behind)[: most + 1]
    pairs = _aligned([word.key for word in left], [word.key for word in right[:most]], overlap * words_per_s)
    if not pairs:
        return None
    # In the middle, since each window hears least well what is at its edge
    one, other = pairs[len(pairs) // 2]
    start = right[other + 1].start if other + 1 < len(right) else len(behind)
    # The first window may have put a full stop where it ended, so that the second one's punctuation stands
    punctuation, space, opening = _parted(behind[right[other].end : start])
    return Joint(before[: left[one].end] + punctuation, space, opening + behind[start:])


def _parted(between: str) -> tuple[str, str, str]:
    """What is between two words: what closes the first, whether a space follows, and what opens the second."""
    place = next((i for i, char in enumerate(between) if char.isspace()), None)
    return (between, "", "") if place is None else (between[:place], " ", between[place:].lstrip())


def _aligned(left: list[str], right: list[str], expected: float) -> list[tuple[int, int]]:
    """The places of the words that both have heard, in order: the best way to lay the start of `right` over the end of
    `left`. expected: how many words that should be."""
    worth: dict[tuple[int, int], tuple[float, float]] = {}  # of what ends there: to compare, and without `expected`
    earlier: dict[tuple[int, int], tuple[int, int]] = {}
    best, best_worth = None, -math.inf
    for i, word in enumerate(left):
        unexpected = _UNEXPECTED * abs(len(left) - i - expected)
        for j in (j for j, other in enumerate(right) if other == word):
            most, plain = 1 - _edge(j) - unexpected, 1 - _edge(j)
            for place in _before(i, j):
                if place not in worth:
                    continue
                gap = _gap(i - place[0] - 1, j - place[1] - 1)
                if worth[place][0] + 1 - gap > most:
                    most, plain = worth[place][0] + 1 - gap, worth[place][1] + 1 - gap
                    earlier[i, j] = place
            worth[i, j] = most, plain
            edge = _edge(len(left) - 1 - i)
            total = most - edge - _UNEXPECTED * abs(j + 1 - expected)
            least = _LEAST_WIDE if is_wide(word[0]) else _LEAST
            if total > best_worth and plain - edge >= least:
                best, best_worth = (i, j), total
    pairs = []
    while best is not None:
        pairs.append(best)
        best = earlier.get(best)
    return pairs[::-1]


def _before(i: int, j: int) -> list[tuple[int, int]]:
    near = range(1, _LONGEST_GAP + 1)
    return [(i - di, j - dj) for di in near for dj in near]


def _edge(count: int) -> float:
    return _EDGE_FIRST + _EDGE_MORE * (count - 1) if count else 0.0


def _gap(left: int, right: int) -> float:
    return _OTHER * min(left, right) + _GAP * abs(left - right)


def _word(text: str, start: int, end: int) -> Word:
    while end > start + 1 and _is_apostrophe(text[end - 1]):  # a closing quotation mark
        end -= 1
    key = unicodedata.normalize("NFKC", text[start:end].replace("’", "'")).casefold()
    return Word(key, start, end)


def _is_part(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNM" or _is_apostrophe(char)


def _is_apostrophe(char: str) -> bool:
    return char in "'’"


def is_wide(char: str) -> bool:
    """Chinese and Japanese, their punctuation too; Korean has spaces."""
    return unicodedata.east_asian_width(char) in "WF" and not unicodedata.name(char, "").startswith("HANGUL")
