"""Joins the texts of two overlapping windows by the words that they have in common."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

# Nobody says more characters of Chinese or Japanese, or more words of other languages, in a second. Beside them, words
# that are cut in half at the edges.
_MOST_WIDE_S, _MOST_WORDS_S, _CUT = 9.0, 5.0, 2
# Scores of an alignment count 1 for each matched word. Subtracted for a word that is in one text only, and for a word
# that the other text has another word for
_GAP, _OTHER = 0.7, 0.6
# Subtracted for unmatched words at the edge of a window, where a word may be cut in half: the first, each further one
_EDGE_FIRST, _EDGE_MORE = 0.1, 0.4
# So many unmatched words in a row end an alignment
_LONGEST_GAP = 5
# Words of a repeated phrase, at most
_LONGEST_PHRASE = 4
# The least score of an alignment. One Chinese character is often found by chance, a word rarely.
_LEAST, _LEAST_WIDE = 0.5, 1.5


@dataclass(frozen=True)
class Word:
    """key: what is compared. start, end: its place in the text; punctuation and space follow up to the next word."""

    key: str
    start: int
    end: int


def words_of(text: str) -> list[Word]:
    """The words of a text, without punctuation; each Chinese or Japanese character is a word."""
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
    """How many words at the end of one text and at the start of the next a join may change. overlap: seconds."""
    return math.ceil(overlap * _MOST_WIDE_S) + _CUT


def _reach_of(last: list[Word], overlap: float) -> int:
    """As `reach`, for a text with this last word."""
    is_of_words = last and not is_wide(last[0].key[0])
    return math.ceil(overlap * _MOST_WORDS_S) + _CUT if is_of_words else reach(overlap)


@dataclass(frozen=True)
class Joint:
    """Two texts without their repetition: `before`, a space or nothing, `behind`."""

    before: str
    between: str
    behind: str


def join(before: str, behind: str, overlap: float, words_per_s: float) -> Joint | None:
    """Joins the texts of two windows. None if they have no words in common: then both must be kept whole, so that
    nothing is lost.

    Only the last `reach(overlap)` words of `before` and the first of `behind` are compared. overlap: seconds that are
    in both windows. words_per_s: approximate speed of the speech."""
    most = _reach_of(words_of(before)[-1:], overlap)
    left, right = words_of(before)[-most:], words_of(behind)[: most + 1]
    pairs = _aligned([word.key for word in left], [word.key for word in right[:most]])
    if not pairs:
        return None
    # Joined in the middle, since the model hears worst at the edges of a window
    one, other = pairs[len(pairs) // 2]
    said = [left[place].key for place, _ in pairs]
    if phrase := _phrase(said):
        too_many = max(0, round((len(pairs) - overlap * words_per_s) / phrase)) * phrase
        one, other = pairs[-1][0], pairs[-1 - min(too_many, len(pairs) - phrase)][1]
    start = right[other + 1].start if other + 1 < len(right) else len(behind)
    # The second one's punctuation counts: the first window may have put a full stop at its end
    punctuation, space, opening = _parted(behind[right[other].end : start])
    return Joint(before[: left[one].end] + punctuation, space, opening + behind[start:])


def _parted(between: str) -> tuple[str, str, str]:
    """What is between two words, in three parts: after the first word, a space or nothing, before the second word."""
    place = next((i for i, char in enumerate(between) if char.isspace()), None)
    return (between, "", "") if place is None else (between[:place], " ", between[place:].lstrip())


def _aligned(left: list[str], right: list[str]) -> list[tuple[int, int]]:
    """Places (in left, in right) of the common words, in order: the best alignment of the start of `right` with the end
    of `left`."""
    score: dict[tuple[int, int], float] = {}  # of the best alignment that ends with this pair
    earlier: dict[tuple[int, int], tuple[int, int]] = {}
    best, best_score = None, 0.0
    for i, word in enumerate(left):
        least = _LEAST_WIDE if is_wide(word[0]) else _LEAST
        for j in (j for j, other in enumerate(right) if other == word):
            score[i, j] = 1 - _edge(j)
            for place in _before(i, j):
                longer = score.get(place, -math.inf) + 1 - _gap(i - place[0] - 1, j - place[1] - 1)
                if longer > score[i, j]:
                    score[i, j], earlier[i, j] = longer, place
            total = score[i, j] - _edge(len(left) - 1 - i)
            if total > max(best_score, least):
                best, best_score = (i, j), total
    pairs = []
    while best is not None:
        pairs.append(best)
        best = earlier.get(best)
    return pairs[::-1]


def _phrase(words: list[str]) -> int:
    """The length of the phrase that the words only repeat; 0 if there is none. The common words do not tell how often
    it was said: as often as the overlap has time for."""
    lengths = range(1, min(_LONGEST_PHRASE, len(words) // 2) + 1)
    return next((n for n in lengths if words[n:] == words[:-n]), 0)


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
    """Whether it is Chinese or Japanese, punctuation included. Korean is not: it has spaces."""
    return unicodedata.east_asian_width(char) in "WF" and not unicodedata.name(char, "").startswith("HANGUL")
