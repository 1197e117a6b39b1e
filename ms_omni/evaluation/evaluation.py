"""Evaluates one run with its references."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from ms_omni import __version__
from ms_omni.errors import OmniError, did_you_mean
from ms_omni.evaluation.bootstrap import drawn_sums, interval
from ms_omni.evaluation.languages import NORMALIZERS, is_without_spaces, looks_without_spaces
from ms_omni.evaluation.lines import Lines, shown, some_of
from ms_omni.evaluation.metric import Floats, Metric, Pair, Settings, make_metric
from ms_omni.evaluation.reference import Reference, read_reference
from ms_omni.evaluation.results import Result, read_results
from ms_omni.evaluation.scores import Figure, MeasuredRun, Row, Score, measure_run, worst_first
from ms_omni.hardware.machine import installed_version

if TYPE_CHECKING:
    from typing_extensions import Unpack

SCHEMA, SCHEMA_VERSION = "ms-omni-evaluation", 1
_LIBRARIES = ("jiwer", "whisper-normalizer", "sacrebleu")
# The metrics for which an option has a meaning
_OF_METRICS = {"normalize": ("wer", "cer", "accuracy"), "tokenize": ("bleu",)}


@dataclass(frozen=True)
class Evaluation:
    """Figures of one run.

    results, reference: where they came from. scores: all rows first, then the mean of languages and each of them, if
    there are several; "all" is missing where languages are counted in different units. rows: all of them, the worst
    first. methods: language -> how it was counted, with sacrebleu's signature. failed: ids of rows without an answer,
    which count as empty ones. unanswered, unexpected: ids that only one side has, left out with allow_missing. notes:
    what a reader must not overlook."""

    metric: str
    lower_is_better: bool
    results: str
    reference: str
    scores: tuple[Score, ...]
    rows: tuple[Row, ...]
    methods: dict[str, str]
    failed: tuple[str, ...]
    unanswered: tuple[str, ...]
    unexpected: tuple[str, ...]
    notes: tuple[str, ...]
    seed: int
    num_resamples: int
    versions: dict[str, str]

    @property
    def value(self) -> float:
        """The main figure of the first score, of 100."""
        return self.scores[0].figures[0].value

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"schema_name": SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(self)}


class Options(TypedDict, total=False):
    """What `evaluate` and `compare` may be told.

    normalize: "english", "basic" or "none" (default: each language's own).
    tokenize: sacrebleu's tokenizer (default: each language's own).
    language: of references that name none.
    allow_missing: leave out ids that only one side has.
    seed, num_resamples: of the intervals (default 0 and 2000)."""

    normalize: str | None
    tokenize: str | None
    language: str | None
    allow_missing: bool
    seed: int
    num_resamples: int


@dataclass(frozen=True)
class Setup:
    """The checked options of an evaluation, and its references."""

    metric: Metric
    references: list[Reference]
    allow_missing: bool
    seed: int
    num_resamples: int


@dataclass(frozen=True)
class Pairs:
    """pairs: in the reference's order. unanswered: ids of references without a result. unexpected: ids of results
    without a reference."""

    pairs: tuple[Pair, ...]
    unanswered: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def evaluate(results: Lines, reference: Lines, metric: str, **options: Unpack[Options]) -> Evaluation:
    """How good a run is.

    results: what `ms-omni batch` wrote, in either format: a path, or its lines as objects. reference: likewise, lines
    with `id` and `text`, `label` (and `choices`) or `boxes` (docs/evaluation.md). metric: of METRICS.
    Raises OmniError, one line, for whatever cannot be used."""
    setup = set_up(reference, metric, **options)
    pairs = paired(setup, read_results(results), "results")
    return evaluation_of(setup, pairs, measure_run(setup.metric, pairs.pairs), shown(results), shown(reference))


def set_up(
    reference: Lines,
    metric: str,
    *,
    normalize: str | None = None,
    tokenize: str | None = None,
    language: str | None = None,
    allow_missing: bool = False,
    seed: int = 0,
    num_resamples: int = 2000,
) -> Setup:
    """The options are those of `Options`. Raises OmniError for a wrong option, a missing package and a wrong
    reference."""
    for flag, number, least in (("--seed", seed, 0), ("--resamples", num_resamples, 1)):
        if number < least:
            raise OmniError(f"{flag} {number}: expected a whole number of at least {least}")
    if normalize is not None and normalize not in NORMALIZERS:
        guess = did_you_mean(normalize, NORMALIZERS)
        raise OmniError(f"--normalize {normalize!r} is not allowed{guess}; expected one of {', '.join(NORMALIZERS)}")
    made = make_metric(metric, Settings(normalize, tokenize))
    for name, value in (("normalize", normalize), ("tokenize", tokenize)):
        if value is not None and metric not in _OF_METRICS[name]:
            raise OmniError(f"--{name} {value}: means nothing for --metric {metric}, only for "
                            f"{', '.join(_OF_METRICS[name])}")  # fmt: skip
    references = read_reference(reference, made.key, made.may_repeat, f"--metric {metric}", language)
    return Setup(made, references, allow_missing, seed, num_resamples)


def paired(setup: Setup, results: dict[str, Result], name: str) -> Pairs:
    """Answers with their references, by id. name: what errors call the results. Raises OmniError where one side has ids
    that the other lacks, unless they may be missing, and where no id is in common."""
    by_id = {reference.id: reference for reference in setup.references}
    unanswered = tuple(key for key in by_id if key not in results)
    unexpected = tuple(key for key in results if key not in by_id)
    pairs = tuple(Pair(reference, results[key]) for key, reference in by_id.items() if key in results)
    faults = []
    if unanswered:
        faults.append(f"{len(unanswered)} of {len(by_id)} ids of --reference have no result ({some_of(unanswered)})")
    if unexpected:
        faults.append(f"{len(unexpected)} of {len(results)} results have no reference ({some_of(unexpected)})")
    if not pairs:
        raise OmniError(f"{name}: no id in common with --reference: {'; '.join(faults)}")
    if faults and not setup.allow_missing:
        raise OmniError(f"{name}: {'; '.join(faults)}; --allow-missing if only what both have is meant")
    return Pairs(pairs, unanswered, unexpected)


def evaluation_of(setup: Setup, pairs: Pairs, measures: MeasuredRun, results: str, reference: str) -> Evaluation:
    """measures: of `pairs`. results, reference: where these came from."""
    failed = tuple(row.id for row in measures.rows if row.failure is not None)
    versions = {name: version for name in _LIBRARIES if (version := installed_version(name))}
    return Evaluation(
        metric=setup.metric.name,
        lower_is_better=setup.metric.lower_is_better,
        results=results,
        reference=reference,
        scores=_scores(measures, np.random.default_rng(setup.seed), setup.num_resamples),
        rows=worst_first(setup.metric, measures.rows),
        methods=measures.methods,
        failed=failed,
        unanswered=pairs.unanswered,
        unexpected=pairs.unexpected,
        notes=tuple(_notes(measures, pairs, failed)),
        seed=setup.seed,
        num_resamples=setup.num_resamples,
        versions={"ms-omni": __version__, **versions},
    )


def _scores(measures: MeasuredRun, rng: np.random.Generator, num_resamples: int) -> tuple[Score, ...]:
    metric, counts = measures.metric, measures.counts
    sums = {name: counts[places].sum(axis=0) for name, places in measures.members.items()}
    values = {name: metric.of_sums(total[None])[0] for name, total in sums.items()}
    for name, value in values.items():
        if math.isnan(value[0]):
            raise OmniError(f"--reference: the texts of {name!r} have nothing to count after normalisation "
                            f"({measures.methods.get(name, '')}); --normalize none keeps all")  # fmt: skip
    draws = {
        name: metric.of_sums(drawn_sums(rng, counts[places], num_resamples))
        for name, places in measures.members.items()
    }
    scores = []
    for group in measures.groups:
        value = np.mean([values[name] for name in group.members], axis=0)
        drawn = np.mean([draws[name] for name in group.members], axis=0)
        own = sums[group.members[0]] if len(group.members) == 1 else ()
        named = dict(zip(metric.counts, map(float, own), strict=False))
        figures = _figures(metric, value, drawn if measures.varies(group) else None)
        scores.append(Score(group.name, measures.num_rows(group), group.unit, figures, named))
    return tuple(scores)


def _figures(metric: Metric, values: Floats, draws: Floats | None) -> tuple[Figure, ...]:
    """values: (F,). draws: (num, F), None where there is nothing to draw from."""
    spans = [(None, None)] * len(values) if draws is None else [interval(drawn) for drawn in draws.T]
    return tuple(Figure(name, float(value), *span)
                 for name, value, span in zip(metric.figures, values, spans, strict=True))  # fmt: skip


def _notes(measures: MeasuredRun, pairs: Pairs, failed: tuple[str, ...]) -> Iterable[str]:
    if failed:
        yield f"without an answer, counted as empty: {len(failed)} of {len(measures.rows)} rows ({some_of(failed)})"
    if pairs.unanswered:
        yield f"references without a result, left out: {len(pairs.unanswered)} ({some_of(pairs.unanswered)})"
    if pairs.unexpected:
        yield f"results without a reference, left out: {len(pairs.unexpected)} ({some_of(pairs.unexpected)})"
    for note, count in Counter(row.note for row in measures.rows if row.note).items():
        yield f"{note}: {count} of {len(measures.rows)} rows"
    if len({group.unit for group in measures.groups if group.unit}) > 1:
        yield "languages are counted in different units: there is no figure of all rows together"
    odd = [pair.reference.id for pair in pairs.pairs if _needs_language(pair.reference)]
    if odd:
        yield (f"references of a script without spaces between words, but of no language that is written so: "
               f"{len(odd)} ({some_of(odd)}); give 'language' or --language")  # fmt: skip


def _needs_language(reference: Reference) -> bool:
    return not is_without_spaces(reference.language) and any(map(looks_without_spaces, reference.texts))
