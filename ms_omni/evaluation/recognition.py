"""Word and character error rate (jiwer)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import jiwer
from typing_extensions import override

from ms_omni.evaluation.languages import graphemes, is_without_spaces, normalizer, normalizer_name
from ms_omni.evaluation.metric import Floats, Metric, Pair, Piece, RowMeasure, Settings, percent

WORDS, CHARACTERS = "words", "characters"


class _ErrorRate(Metric):
    """100 * (substitutions + deletions + insertions) / (hits + substitutions + deletions), of all rows together."""

    counts = ("substitutions", "deletions", "insertions", "hits")
    lower_is_better = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        normalizer(normalizer_name(settings.normalize, None))  # raises ImportError where it is not installed

    @override
    def method(self, language: str | None) -> str:
        name = normalizer_name(self.settings.normalize, language)
        spaces = " without spaces" if is_without_spaces(language) else ""
        return f"{self.unit(language)}{spaces}, normaliser {name}"

    @override
    def measure(self, pairs: Sequence[Pair], language: str | None) -> list[RowMeasure]:
        normalize = normalizer(normalizer_name(self.settings.normalize, language))
        references = [normalize(pair.reference.texts[0]) for pair in pairs]
        answers = [normalize(pair.result.text) for pair in pairs]
        joint = "" if self.unit(language) == CHARACTERS else " "
        found = self._aligned(references, answers, language)
        rows = zip(found.references, found.hypotheses, found.alignments, references, answers, strict=True)
        return [_row(_counts(chunks), reference, answer, pieces_of(left, right, chunks, joint))
                for left, right, chunks, reference, answer in rows]  # fmt: skip

    @override
    def of_sums(self, sums: Floats) -> Floats:
        substitutions, deletions, insertions, hits = sums.T
        errors = substitutions + deletions + insertions
        return percent(errors, hits + substitutions + deletions)[:, None]

    @abstractmethod
    def _aligned(self, references: list[str], answers: list[str], language: str | None) -> Any: ...


class Wer(_ErrorRate):
    """For languages without spaces between words it counts graphemes, as Whisper's evaluation does."""

    name = "wer"
    figures = ("WER",)

    @override
    def unit(self, language: str | None) -> str:
        return CHARACTERS if is_without_spaces(language) else WORDS

    def _aligned(self, references: list[str], answers: list[str], language: str | None) -> Any:
        return align(references, answers, language)


class Cer(_ErrorRate):
    """A space counts as a character, as in jiwer, except in languages without spaces between words."""

    name = "cer"
    figures = ("CER",)

    @override
    def unit(self, language: str | None) -> str:
        return CHARACTERS

    def _aligned(self, references: list[str], answers: list[str], language: str | None) -> Any:
        if is_without_spaces(language):
            references, answers = (["".join(text.split()) for text in texts] for texts in (references, answers))
        return jiwer.process_characters(references, answers)


def align(references: list[str], answers: list[str], language: str | None) -> jiwer.WordOutput:
    """Aligns the words of both with the fewest errors; graphemes in a language without spaces."""
    if is_without_spaces(language):
        references, answers = ([" ".join(graphemes(text)) for text in texts] for texts in (references, answers))
    # jiwer parts words at blanks alone
    references, answers = ([" ".join(text.split()) for text in texts] for texts in (references, answers))
    return jiwer.process_words(references, answers)


def pieces_of(
    left: list[str], right: list[str], chunks: Sequence[jiwer.AlignmentChunk], joint: str
) -> tuple[Piece, ...]:
    """The pieces of one row's alignment. joint: what stands between two units."""
    return tuple(
        Piece(
            chunk.type,  # type: ignore[arg-type]
            joint.join(left[chunk.ref_start_idx : chunk.ref_end_idx]),
            joint.join(right[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in chunks
    )


def _counts(chunks: Sequence[jiwer.AlignmentChunk]) -> tuple[float, ...]:
    """Substitutions, deletions, insertions, hits."""
    found = dict.fromkeys(("substitute", "delete", "insert", "equal"), 0)
    for chunk in chunks:
        size = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        found[chunk.type] += size
    return tuple(map(float, found.values()))


def _row(counts: tuple[float, ...], reference: str, answer: str, pieces: tuple[Piece, ...]) -> RowMeasure:
    substitutions, deletions, insertions, hits = counts
    length = hits + substitutions + deletions
    note = "" if length else "nothing is left of the reference after normalisation"
    value = 100 * (substitutions + deletions + insertions) / max(length, 1)
    return RowMeasure(counts, value, reference, answer, pieces, note)
