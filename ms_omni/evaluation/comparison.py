"""Compares two runs with the same references: whether they differ beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ms_omni.errors import OmniError
from ms_omni.evaluation.bootstrap import drawn_sums, exchanged_sums, interval, p_value
from ms_omni.evaluation.evaluation import (
    SCHEMA_VERSION,
    Evaluation,
    Options,
    Pairs,
    Setup,
    evaluation_of,
    paired,
    set_up,
)
from ms_omni.evaluation.lines import Lines, shown
from ms_omni.evaluation.metric import Floats, Metric
from ms_omni.evaluation.results import read_results
from ms_omni.evaluation.scores import MeasuredRun, Row, measure_run

if TYPE_CHECKING:
    from typing_extensions import Unpack

SCHEMA = "ms-omni-comparison"
# A difference is called beyond chance if chance alone makes one as large less often than this
ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """b - a of one figure. low, high: the 95 % interval of draws of the same rows of both; None for a single row.
    p_value: how often exchanging the runs' answers at random makes as large a difference."""

    name: str
    figure: str
    num_rows: int
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    p_value: float

    @property
    def is_beyond_chance(self) -> bool:
        """Whether chance alone makes such a difference less often than ALPHA."""
        return self.p_value < ALPHA


@dataclass(frozen=True)
class Comparison:
    """a, b: the runs. differences: as their scores, in order. changed: rows of both, those that became worse first."""

    metric: str
    lower_is_better: bool
    a: Evaluation
    b: Evaluation
    differences: tuple[Difference, ...]
    changed: tuple[tuple[Row, Row], ...]

    @property
    def verdict(self) -> str:
        """Whether the main figure differs, in words."""
        main = self.differences[0]
        if not main.is_beyond_chance:
            return f"no difference beyond chance (p = {main.p_value:.4f})"
        better = "B" if (main.difference < 0) == self.lower_is_better else "A"
        return f"{better} is better beyond chance (p = {main.p_value:.4f})"

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the rows stand in `a` and `b`."""
        differences = [{**asdict(one), "is_beyond_chance": one.is_beyond_chance} for one in self.differences]
        return {
            "schema_name": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "metric": self.metric,
            "lower_is_better": self.lower_is_better,
            "verdict": self.verdict,
            "differences": differences,
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
        }


def compare(a: Lines, b: Lines, reference: Lines, metric: str, **options: Unpack[Options]) -> Comparison:
    """Whether two runs differ beyond chance; the arguments are those of `evaluate`, for the results of both. With
    allow_missing, the ids that both runs and the reference have are compared. Raises OmniError."""
    setup = set_up(reference, metric, **options)
    of_a = paired(setup, read_results(a, "results A"), "results A")
    of_b = paired(setup, read_results(b, "results B"), "results B")
    of_a, of_b = _common(of_a, of_b, "results A"), _common(of_b, of_a, "results B")
    measures = measure_run(setup.metric, of_a.pairs), measure_run(setup.metric, of_b.pairs)
    return Comparison(
        metric=metric,
        lower_is_better=setup.metric.lower_is_better,
        a=evaluation_of(setup, of_a, measures[0], shown(a), shown(reference)),
        b=evaluation_of(setup, of_b, measures[1], shown(b), shown(reference)),
        differences=_differences(setup, *measures),
        changed=_worse_first(setup.metric, measures[0].rows, measures[1].rows),
    )


def _common(pairs: Pairs, others: Pairs, name: str) -> Pairs:
    """The pairs of ids that both runs have. Raises OmniError where there are none."""
    known = {pair.reference.id for pair in others.pairs}
    kept = tuple(pair for pair in pairs.pairs if pair.reference.id in known)
    if not kept:
        raise OmniError(f"{name}: no id in common with the other results")
    alone = tuple(pair.reference.id for pair in pairs.pairs if pair.reference.id not in known)
    return Pairs(kept, pairs.unanswered, (*pairs.unexpected, *alone))


def _differences(setup: Setup, a: MeasuredRun, b: MeasuredRun) -> tuple[Difference, ...]:
    metric, rng, num = setup.metric, np.random.default_rng(setup.seed), setup.num_resamples
    values: dict[str, Floats] = {}
    draws: dict[str, Floats] = {}
    chances: dict[str, Floats] = {}
    for name, places in a.members.items():
        left, right = a.counts[places], b.counts[places]
        values[name] = np.stack([metric.of_sums(counts.sum(axis=0)[None])[0] for counts in (left, right)])
        drawn = drawn_sums(rng, np.concatenate([left, right], axis=1), num)  # the same rows of both
        width = left.shape[1]
        draws[name] = metric.of_sums(drawn[:, width:]) - metric.of_sums(drawn[:, :width])
        one, other = exchanged_sums(rng, left, right, num)
        chances[name] = metric.of_sums(other) - metric.of_sums(one)
    found = []
    for group in a.groups:
        of_a, of_b = np.mean([values[name] for name in group.members], axis=0)
        drawn, chance = (np.mean([known[name] for name in group.members], axis=0) for known in (draws, chances))
        for place, figure in enumerate(metric.figures):
            difference = float(of_b[place] - of_a[place])
            low, high = interval(drawn[:, place]) if a.varies(group) else (None, None)
            p = p_value(difference, chance[:, place])
            of_both = float(of_a[place]), float(of_b[place])
            found.append(Difference(group.name, figure, a.num_rows(group), *of_both, difference, low, high, p))
    return tuple(found)


def _worse_first(metric: Metric, a: Sequence[Row], b: Sequence[Row]) -> tuple[tuple[Row, Row], ...]:
    sign = -1 if metric.lower_is_better else 1
    return tuple(sorted(zip(a, b, strict=True), key=lambda both: sign * (both[1].value - both[0].value)))
