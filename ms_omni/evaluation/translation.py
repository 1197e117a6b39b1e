"""BLEU and chrF (sacrebleu), of raw texts, with any number of references."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF
from typing_extensions import override

from ms_omni.errors import OmniError
from ms_omni.evaluation.languages import is_without_spaces, tokenizer_of
from ms_omni.evaluation.metric import Floats, Metric, Pair, RowMeasure, Settings
from ms_omni.evaluation.recognition import align, pieces_of

# How to get what a tokenizer needs beyond sacrebleu
_EXTRAS = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}


class _OfSacrebleu(Metric):
    """The counts are sacrebleu's own statistics of each row, before it sums them."""

    may_repeat = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._made: dict[str | None, Any] = {}
        # of single rows: scoring one changes what an object's signature says
        self._of_rows: dict[str | None, Any] = {}

    @override
    def check(self, language: str | None) -> None:
        if language not in self._made:
            self._made[language] = self._make(language)
            self._of_rows[language] = self._make(language, of_rows=True)

    @override
    def method(self, language: str | None) -> str:
        return str(self._made[language].get_signature())

    @override
    def measure(self, pairs: Sequence[Pair], language: str | None) -> list[RowMeasure]:
        self.check(language)
        scorer = self._made[language]
        answers = [pair.result.text for pair in pairs]
        most = max(len(pair.reference.texts) for pair in pairs)
        # sacrebleu wants all first references, then all second ones; None where a row has fewer
        texts = [[*pair.reference.texts, *[None] * (most - len(pair.reference.texts))] for pair in pairs]
        counts = scorer._extract_corpus_statistics(answers, list(zip(*texts, strict=True)))
        found = align([pair.reference.texts[0] for pair in pairs], answers, language)
        joint = "" if is_without_spaces(language) else " "
        rows = zip(counts, pairs, found.references, found.hypotheses, found.alignments, strict=True)
        return [
            RowMeasure(
                tuple(map(float, count)),
                self._of_row(pair, language),
                pair.reference.texts[0],
                pair.result.text,
                pieces_of(left, right, chunks, joint),
            )
            for count, pair, left, right, chunks in rows
        ]

    @override
    def of_sums(self, sums: Floats) -> Floats:
        scorer = next(iter(self._made.values()))  # they differ in their tokenizers alone
        return np.array([[scorer._compute_score_from_stats(row).score] for row in sums.tolist()])

    @abstractmethod
    def _make(self, language: str | None, of_rows: bool = False) -> Any: ...

    def _of_row(self, pair: Pair, language: str | None) -> float:
        scorer = self._of_rows[language]
        return float(scorer.sentence_score(pair.result.text, list(pair.reference.texts)).score)


class Bleu(_OfSacrebleu):
    """A row's own figure leaves out orders of n-grams that it is too short for (sacrebleu's effective_order)."""

    name = "bleu"
    figures = ("BLEU",)
    counts = ("answer_tokens", "reference_tokens", *(f"correct_{n}" for n in range(1, 5)),
              *(f"total_{n}" for n in range(1, 5)))  # fmt: skip

    @override
    def unit(self, language: str | None) -> str:
        return f"tokens of {self._tokenizer(language)}"

    def _tokenizer(self, language: str | None) -> str:
        return self.settings.tokenize or tokenizer_of(language)

    def _make(self, language: str | None, of_rows: bool = False) -> BLEU:
        name = self._tokenizer(language)
        if name not in BLEU.TOKENIZERS:
            raise OmniError(f"--tokenize {name!r} is not allowed; expected one of {', '.join(sorted(BLEU.TOKENIZERS))}")
        try:
            return BLEU(tokenize=name, effective_order=of_rows)
        except (ImportError, RuntimeError) as error:
            install = f"pip install '{_EXTRAS[name]}'" if name in _EXTRAS else f"see sacrebleu ({error})"
            of = f" of language {language!r}" if language and not self.settings.tokenize else ""
            raise OmniError(f"--metric bleu: the tokenizer {name}{of} is not installed: {install}, "
                            "or take --tokenize char, or --metric chrf") from error  # fmt: skip


class Chrf(_OfSacrebleu):
    """chrF2: character n-grams up to 6, spaces left out, so that it needs no tokenizer."""

    name = "chrf"
    figures = ("chrF",)
    counts = tuple(f"{what}_{n}" for n in range(1, CHRF.CHAR_ORDER + 1) for what in ("answer", "reference", "common"))

    @override
    def unit(self, language: str | None) -> str:
        return "character n-grams"

    def _make(self, language: str | None, of_rows: bool = False) -> CHRF:
        return CHRF()
