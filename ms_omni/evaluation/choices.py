"""Accuracy: which choice an answer names, or whether it is the expected text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from typing_extensions import override

from ms_omni.evaluation.languages import normalizer, normalizer_name
from ms_omni.evaluation.metric import Floats, Metric, Pair, RowMeasure, Settings, percent

# "the answer is (B)", "Answer: B", "option B", 答案是B, 选B: the letter itself is looked for after these words
_NAMED = r"(?:answer|option|choice|答案|选项|选择|选)(?:\s+is|\s*为|\s*是)?\s*[:：]?\s*"


class Accuracy(Metric):
    """The share of rows whose answer is right."""

    name = "accuracy"
    figures = ("accuracy",)
    counts = ("right", "rows")
    key = "label"
    may_repeat = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        normalizer(normalizer_name(settings.normalize, None))  # raises ImportError where it is not installed

    @override
    def unit(self, language: str | None) -> str:
        return "rows"

    @override
    def method(self, language: str | None) -> str:
        return f"the choice that the answer names, else equal texts; normaliser {self._normalizer(language)}"

    @override
    def measure(self, pairs: Sequence[Pair], language: str | None) -> list[RowMeasure]:
        normalize = normalizer(self._normalizer(language))
        return [_measured(pair, normalize) for pair in pairs]

    @override
    def of_sums(self, sums: Floats) -> Floats:
        return percent(sums[:, 0], sums[:, 1])[:, None]

    def _normalizer(self, language: str | None) -> str:
        return normalizer_name(self.settings.normalize, language)


def _measured(pair: Pair, normalize: Callable[[str], str]) -> RowMeasure:
    reference, answer = pair.reference, pair.result.text
    if reference.choices is None:
        expected, found = [normalize(label) for label in reference.labels], normalize(answer)
        return _row(found != "" and found in expected, " or ".join(expected), found)
    (right,) = reference.labels
    chosen = named_choice(answer, reference.choices, normalize)
    note = "" if chosen is not None or pair.result.failure else "the answer names no choice, or more than one"
    shown = answer if chosen in (None, answer) else f"{chosen} ({reference.choices[chosen]}), from: {answer}"
    return _row(chosen == right, f"{right} ({reference.choices[right]})", shown, note)


def _row(is_right: bool, expected: str, answer: str, note: str = "") -> RowMeasure:
    return RowMeasure((float(is_right), 1.0), 100.0 * is_right, expected, answer, note=note)


def named_choice(answer: str, choices: dict[str, str], normalize: Callable[[str], str]) -> str | None:
    """The letter of the choice that `answer` names, by the first of these rules that finds exactly one; else None.

    1. The answer is a choice's text, after normalisation.
    2. It begins with a letter that is alone, or on its line, or followed by . ) : , or a dash: `B. a cat`, `(B)`,
       `**B**`; one that is the whole answer may be small.
    3. A letter follows the words answer, option or choice (the last such place counts): `The answer is B`.
    4. A letter stands in brackets: `... so (B)`.
    5. A choice's text stands in the answer as whole words; of two, one within the other, the longer counts."""
    letters = "".join(choices)
    texts = {letter: normalize(text) for letter, text in choices.items()}
    plain = answer.replace("*", "").strip()
    plain = plain.upper() if len(plain) == 1 else plain
    alone = rf"(?:[(\[（]\s*([{letters}])\s*[)\]）]|([{letters}])(?=[^\S\n]*(?:[.):,：、．）\n]|$|\s[-–—]\s)))"
    said = normalize(plain)
    rules = (
        lambda: [letter for letter, text in texts.items() if text and text == said],
        lambda: _first(re.match(alone, plain)),
        lambda: _last(re.finditer(rf"{_NAMED}(?:[(\[（]?([{letters}])(?![A-Za-z]))", plain, re.IGNORECASE), letters),
        lambda: re.findall(rf"[(\[（]\s*([{letters}])\s*[)\]）]", plain),
        lambda: _contained(said, texts),
    )
    for rule in rules:
        found = set(rule())
        if len(found) == 1:
            return str(found.pop())
    return None


def _first(match: re.Match[str] | None) -> list[str]:
    return [letter for letter in match.groups() if letter] if match else []


def _last(matches: object, letters: str) -> list[str]:
    """The words may be in any case, the letter not: 'answer a question' names none."""
    found = [match[1] for match in matches if match[1] in letters]  # type: ignore[attr-defined]
    return found[-1:]


def _contained(said: str, texts: dict[str, str]) -> list[str]:
    found = [letter for letter, text in texts.items() if text and _holds(said, text)]
    return [letter for letter in found
            if not any(_holds(texts[other], texts[letter]) for other in found if other != letter)]  # fmt: skip


def _holds(text: str, part: str) -> bool:
    """Whether `part` stands in `text`, not within a word; Chinese has nothing between its words."""
    edge = r"(?<![a-z0-9])", r"(?![a-z0-9])"
    return re.search(edge[0] + re.escape(part) + edge[1], text, re.IGNORECASE) is not None
