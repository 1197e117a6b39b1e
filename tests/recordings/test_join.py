"""Texts of windows that overlap, joined by the words that both have heard."""

import difflib
import random

import pytest
from hearing import heard, speech, vocabulary

from ms_omni.recordings.join import join, reach, words_of

# Seconds, and words in a second
OVERLAP, SPEED = 3.0, 2.7


def joined(before, behind, overlap=OVERLAP, words_per_s=SPEED):
    joint = join(before, behind, overlap, words_per_s)
    return None if joint is None else joint.before + joint.between + joint.behind


def keys(text):
    return [word.key for word in words_of(text)]


@pytest.mark.parametrize(
    "text, words",
    [
        ("One, two. Three", ["one", "two", "three"]),
        ("Don’t “quote” 'me'", ["don't", "quote", "me"]),
        ("ill-disposed 3.5 %", ["ill", "disposed", "3", "5"]),
        ("我们 today 来了。", ["我", "们", "today", "来", "了"]),
        ("カタカナ", ["カ", "タ", "カ", "ナ"]),
        ("안녕 하세요", ["안녕", "하세요"]),
        ("مرحبا، كيف", ["مرحبا", "كيف"]),
        ("Straße CAFÉ", ["strasse", "café"]),
        ("...", []),
        ("", []),
    ],
)
def test_words(text, words):
    assert keys(text) == words
    for word in words_of(text):
        assert text[word.start : word.end].strip() == text[word.start : word.end]


@pytest.mark.parametrize(
    "before, behind, text",
    [
        ("the old cat sat on the mat", "sat on the mat and slept", "the old cat sat on the mat and slept"),
        # half words at the edges
        ("he was a very respec", "ry respectable man", None),
        ("he was a very respectable ma", "ry respectable man indeed", "he was a very respectable man indeed"),
        # a full stop that only the end of the window has made
        ("Then she turned the corner.", "turned the corner, and left.", "Then she turned the corner, and left."),
        ("he said that it rains. Nobody", "That it rains? Nobody knows.", "he said that it rains? Nobody knows."),
        # letters as the first has them: it knows what is before
        ("to be in London town", "In london town. Yes", "to be in London town. Yes"),
        # one that is another in the other text, and one that is missing there
        ("so one two tree four five", "one two three four five six", "so one two tree four five six"),
        ("so one two three four", "so one two three for five", "so one two three for five"),
        ("so one two four five", "one two three four five six", "so one two four five six"),
        # repetitions are as many as both have heard
        ("and he said no no no", "no no no never", "and he said no no no never"),
        ("it is very very", "is very very good", "it is very very good"),
        # nothing in common
        ("one two three", "four five six", None),
        ("", "four", None),
        ("one", "", None),
        # by hyphens, quotation marks and lines
        ("he is not an ill-disposed", "an ill disposed young man", "he is not an ill disposed young man"),
        ("and then he called out", 'he called out "come here"', 'and then he called out "come here"'),
        ("first line\nsecond line", "second line\nthird line", "first line\nsecond line third line"),
        # Chinese and Japanese: characters; one alone proves nothing
        ("今天天气很好我们去", "天气很好我们去公园。", "今天天气很好我们去公园。"),
        ("今天的", "的确如此", None),
        ("今天天气很好", "天气很好 we go", "今天天气很好 we go"),
    ],
)  # fmt: skip
def test_joined(before, behind, text):
    assert joined(before, behind) == text


def test_what_is_out_of_reach_is_not_changed():
    """A word that comes again long before the end, or long behind the start, is another one."""
    filler = " ".join(f"w{i}" for i in range(reach(OVERLAP)))
    assert joined(f"one two {filler}", "one two three") is None
    assert joined("zero one two", f"{''.join(f'x{i} ' for i in range(reach(OVERLAP)))}one two") is None


def test_a_text_that_only_repeats_keeps_as_much_as_fits():
    """Thirty times no in thirty seconds, and the same again: three seconds are common."""
    for count, speed in ((30, 1.0), (60, 2.0)):
        text = joined(" ".join(["no"] * count), " ".join(["no"] * count), 3.0, speed)
        assert abs(len(keys(text)) - (2 * count - 3 * speed)) <= 1


def errors_of(text, said):
    """(words that are there and should not be, words that are missing)."""
    matcher = difflib.SequenceMatcher(None, [one.word for one in said], keys(text), autojunk=False)
    same = sum(block.size for block in matcher.get_matching_blocks())
    return len(keys(text)) - same, len(said) - same


@pytest.mark.parametrize("size", [20, 100, 3000])
@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_random_joins_double_and_lose_nothing(size, pause):
    """Two windows of twenty seconds that share three, in a language of few or many words."""
    wrong, count = [], 150
    for seed in range(count):
        chance = random.Random(seed)
        said = speech(chance, 37, vocabulary(chance, size), pause)
        cut = chance.uniform(18, 19)
        first = heard(said, 0, cut + 1.5, chance)
        second = heard(said, cut - 1.5, said[-1].end, chance)
        speed = len(keys(first)) / (cut + 1.5)
        text = joined(first, second, 3.0, speed)
        if text is None or errors_of(text, said) != (0, 0):
            wrong.append((seed, text and errors_of(text, said)))
    # where a pause fills the overlap both texts have no word in common
    assert len(wrong) <= (0 if pause == 0 else 0.02 * count), wrong


def test_random_joins_of_what_is_misheard():
    """One word of twelve is another: the join adds no error of its own."""
    added = 0
    for seed in range(150):
        chance = random.Random(seed)
        said = speech(chance, 37, vocabulary(chance, 500))
        cut = chance.uniform(18, 19)
        first = heard(said, 0, cut + 1.5, chance, errors=0.08)
        second = heard(said, cut - 1.5, said[-1].end, chance, errors=0.08)
        text = joined(first, second, 3.0, len(keys(first)) / (cut + 1.5))
        doubled, lost = errors_of(text, said)
        misheard = keys(text).count("mhm")
        added += max(0, doubled - misheard) + max(0, lost - misheard)
    assert added <= 5  # half a word at an edge may be another word of this language
