"""The interface of a metric: counts of each row that can be added, and figures of their sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ms_omni.errors import OmniError, did_you_mean
from ms_omni.evaluation.reference import Reference
from ms_omni.evaluation.results import Result

# name -> module with its class of the same name in capitals
_MODULES = {
    "wer": "recognition",
    "cer": "recognition",
    "bleu": "translation",
    "chrf": "translation",
    "accuracy": "choices",
    "iou": "grounding",
}
METRICS = tuple(_MODULES)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """normalize: of NORMALIZERS, None for each language's own. tokenize: sacrebleu's tokenizer, likewise."""

    normalize: str | None = None
    tokenize: str | None = None


@dataclass(frozen=True)
class Pair:
    """An answer and what it should have been."""

    reference: Reference
    result: Result


@dataclass(frozen=True)
class Piece:
    """Of an alignment: a stretch of both texts, one of them empty for `insert` and `delete`."""

    kind: Literal["equal", "substitute", "insert", "delete"]
    reference: str
    answer: str


@dataclass(frozen=True)
class RowMeasure:
    """One row. counts: (C,) numbers named by the metric's `counts`. value: the row's own main figure, of 100.
    reference, answer: as they were compared. note: what a reader should know."""

    counts: tuple[float, ...]
    value: float
    reference: str
    answer: str
    pieces: tuple[Piece, ...] = ()
    note: str = ""


class Metric(ABC):
    """name: of METRICS. figures: names, the main one first, each of 100. counts: names of what rows count. key: of a
    reference, that must be there. may_repeat: whether that may be a list, any of which is right."""

    name: str
    figures: tuple[str, ...]
    counts: tuple[str, ...]
    lower_is_better = False
    key = "text"
    may_repeat = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def check(self, language: str | None) -> None:  # noqa: B027 - most metrics need nothing, and none must say so
        """Raises OmniError where something that this language needs is not installed."""

    @abstractmethod
    def unit(self, language: str | None) -> str:
        """What is counted, such as "words". Rows of different units have no common figure."""

    @abstractmethod
    def method(self, language: str | None) -> str:
        """How, in one line, of a language that was measured."""

    @abstractmethod
    def measure(self, pairs: Sequence[Pair], language: str | None) -> list[RowMeasure]:
        """Of rows of one language."""

    @abstractmethod
    def of_sums(self, sums: Floats) -> Floats:
        """Sums of counts (n, C) to figures (n, F); not a number where there is nothing to divide by."""


def make_metric(name: str, settings: Settings) -> Metric:
    """Raises OmniError for an unknown name and for packages that are not installed."""
    if name not in _MODULES:
        guess = did_you_mean(name, METRICS)
        raise OmniError(f"--metric {name!r} is not allowed{guess}; expected one of {', '.join(METRICS)}")
    with evaluation_extra(f"--metric {name}"):
        metric: Metric = getattr(import_module(f"ms_omni.evaluation.{_MODULES[name]}"), name.capitalize())(settings)
    return metric


@contextmanager
def evaluation_extra(what: str) -> Iterator[None]:
    """Around imports from the extra [eval]: says how to install what is missing."""
    try:
        yield
    except ImportError as error:
        raise OmniError(f"{what} needs more packages ({error}): pip install 'ms-omni[eval]'") from error


def percent(part: Floats, whole: Floats) -> Floats:
    """100 * part / whole, not a number where the whole is 0."""
    return np.divide(100.0 * part, whole, out=np.full(np.shape(whole), np.nan), where=whole != 0)
