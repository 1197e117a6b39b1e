"""The results of an evaluation: figures with intervals, for all rows and for each language, and the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ms_omni.evaluation.metric import Floats, Metric, Pair, Piece

ALL, NO_LANGUAGE = "all", "no language"


@dataclass(frozen=True)
class Figure:
    """value, of 100. low, high: where 95 % of the draws lie; None of a single row."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Score:
    """name: "all", "mean of N languages", or a language. unit: what is counted, "" for a mean. counts: what the figures
    are made of, none for a mean."""

    name: str
    num_rows: int
    unit: str
    figures: tuple[Figure, ...]
    counts: dict[str, float]


@dataclass(frozen=True)
class Row:
    """One answer. value: its own main figure, of 100. reference, answer: as they were compared. pieces: their
    alignment, where the metric has one. failure: why there is no answer. media: (kind, path or URL)."""

    id: str
    language: str
    value: float
    reference: str
    answer: str
    counts: tuple[float, ...]
    pieces: tuple[Piece, ...] = ()
    note: str = ""
    failure: str | None = None
    media: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Group:
    """Rows that get figures. members: the figure is their mean; there is one member except for a mean of languages."""

    name: str
    unit: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class MeasuredRun:
    """The rows of a run in the reference's order. members: name -> places of rows."""

    metric: Metric
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    members: dict[str, NDArray[np.intp]]
    methods: dict[str, str]

    @property
    def counts(self) -> Floats:
        """(rows, C)."""
        return np.array([row.counts for row in self.rows])

    def num_rows(self, group: Group) -> int:
        """Of all its members."""
        return sum(len(self.members[name]) for name in group.members)

    def varies(self, group: Group) -> bool:
        """Whether draws can differ: of a single row they are all that row."""
        return any(len(self.members[name]) > 1 for name in group.members)


def measure_run(metric: Metric, pairs: Sequence[Pair]) -> MeasuredRun:
    """The rows, language by language. Raises OmniError, before anything is measured, for a package that a language
    needs and that is not installed."""
    places: dict[str | None, list[int]] = {}
    for place, pair in enumerate(pairs):
        places.setdefault(pair.reference.language, []).append(place)
    for language in places:
        metric.check(language)
    rows: dict[int, Row] = {}
    for language, found in places.items():
        for place, of_row in zip(found, metric.measure([pairs[place] for place in found], language), strict=True):
            reference, result = pairs[place].reference, pairs[place].result
            rows[place] = Row(
                id=reference.id,
                language=language or NO_LANGUAGE,
                value=of_row.value,
                reference=of_row.reference,
                answer=of_row.answer,
                counts=of_row.counts,
                pieces=of_row.pieces,
                note=of_row.note,
                failure=result.failure,
                media=reference.media,
            )
    members = {language or NO_LANGUAGE: np.array(found) for language, found in places.items()}
    units = {language or NO_LANGUAGE: metric.unit(language) for language in places}
    methods = {language or NO_LANGUAGE: metric.method(language) for language in places}
    return MeasuredRun(metric, tuple(rows[place] for place in range(len(pairs))), *_grouped(members, units), methods)


def _grouped(
    members: dict[str, NDArray[np.intp]], units: dict[str, str]
) -> tuple[tuple[Group, ...], dict[str, NDArray[np.intp]]]:
    """All rows, where these count the same; with several languages their mean and each of them."""
    languages = tuple(members)
    if len(languages) == 1:
        return (Group(ALL, units[languages[0]], languages),), members
    groups = [Group(f"mean of {len(languages)} languages", "", languages)]
    groups += [Group(language, units[language], (language,)) for language in sorted(languages)]
    if len(set(units.values())) == 1:
        groups.insert(0, Group(ALL, units[languages[0]], (ALL,)))
        members = {**members, ALL: np.concatenate(list(members.values()))}
    return tuple(groups), members


def worst_first(metric: Metric, rows: Sequence[Row]) -> tuple[Row, ...]:
    """By the row's own figure; those that are alike in their order."""
    sign = -1 if metric.lower_is_better else 1
    return tuple(sorted(rows, key=lambda row: sign * row.value))
