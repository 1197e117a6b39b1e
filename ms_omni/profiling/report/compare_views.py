"""A comparison as a table, Markdown, CSV, JSON or HTML."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from ms_omni.profiling.document import FIGURES
from ms_omni.profiling.report.changes import LEAST_CHANGE, UNKNOWN_NOISE, WITHIN_NOISE, Change, Comparison
from ms_omni.profiling.report.heading import BUSY, is_busy, title
from ms_omni.profiling.report.values import DASH, as_csv, figure_row, number
from ms_omni.tables import Table, html, markdown, terminal

SCHEMA = "ms_omni.comparison"
RULE = (
    f"Marked: a change of more than {LEAST_CHANGE:.0%}, and of more than the noise of both runs together (the width "
    "from least to most as a share of the median, added)."
)


def render(comparison: Comparison, format: str) -> str:
    """format: one of report.FORMATS."""
    if format == "json":
        return json.dumps(as_json(comparison), ensure_ascii=False, indent=1) + "\n"
    if format == "csv":
        return _csv(comparison)
    pages: dict[str, Any] = {"table": terminal.draw, "markdown": markdown.page, "html": html.page}
    return str(pages[format](heading(comparison), tables(comparison), summary(comparison)))


def heading(comparison: Comparison) -> str:
    """The titles of both profiles; one if they are equal."""
    before, after = title(comparison.before), title(comparison.after)
    return f"Comparison: {before}" if before == after else f"Comparison: {before} -> {after}"


def summary(comparison: Comparison) -> list[str]:
    """Lines with the most important findings first."""
    found = comparison.regressions
    marked = ", ".join(f"{change.figure} of {change.run} in {change.case}" for change in found[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    count = f"{len(found)} regression{'' if len(found) == 1 else 's'} beyond the noise"
    lines = [f"{count}: {marked}{more}" if found else f"no {count[2:].replace('regressions', 'regression')}"]
    if any(change.verdict == UNKNOWN_NOISE for change in comparison.changes):
        lines.append("noise unknown: a run has one repeat, so nothing of it is marked; measure with --repeats 3")
    for which, profile in (("first", comparison.before), ("second", comparison.after)):
        if is_busy(profile):
            lines.append(f"{which}: {BUSY} (load average {number(profile.machine.load_average[0])})")
    return [*lines, *comparison.missing, RULE]


def tables(comparison: Comparison) -> list[Table]:
    """A table for each case and run, then one of other differences."""
    drawn = []
    for (case, run), changes in groupby(comparison.changes, key=lambda change: (change.case, change.run)):
        rows = tuple(_row(change) for change in changes)
        columns = ("median (least to most)", "before", "after", "change", "noise of both", "verdict")
        drawn.append(Table(f"{case}: {run}", columns, rows))
    if comparison.differences:
        named = ("what differs", "before", "after")
        drawn.append(Table("Beside the figures", named, comparison.differences, text_columns=3))
    return drawn


def _row(change: Change) -> tuple[str, ...]:
    label, (before, after) = figure_row(change.figure, (change.before, change.after))
    moved = DASH if change.change is None else f"{change.change:+.1%}"
    noise = DASH if change.allowed is None else f"{change.before.noise + change.after.noise:.1%}"
    verdict = "" if change.verdict == WITHIN_NOISE else change.verdict
    return label, before, after, moved, noise, verdict


def as_json(comparison: Comparison) -> dict[str, object]:
    """One document: shares, not percent; null for what is unknown."""
    return {
        "schema_name": SCHEMA,
        "schema_version": 1,
        "before": title(comparison.before),
        "after": title(comparison.after),
        "least_change": LEAST_CHANGE,
        "regressions": len(comparison.regressions),
        "changes": [_change_json(change) for change in comparison.changes],
        "differences": [dict(zip(("what", "before", "after"), row, strict=True)) for row in comparison.differences],
        "missing": list(comparison.missing),
    }


def _change_json(change: Change) -> dict[str, object]:
    return {
        "case": change.case,
        "run": change.run,
        "figure": change.figure,
        "unit": FIGURES[change.figure][1],
        "before": change.before.model_dump(),
        "after": change.after.model_dump(),
        "change": change.change,
        "allowed": change.allowed,
        "verdict": change.verdict,
    }


def _csv(comparison: Comparison) -> str:
    sides = [f"{side}_{part}" for side in ("before", "after") for part in ("median", "min", "max", "repeats")]
    columns = ("case", "run", "figure", "unit", *sides, "change", "allowed", "verdict")
    return as_csv(columns, map(_csv_row, comparison.changes))


def _csv_row(change: Change) -> tuple[object, ...]:
    numbers = [
        number
        for value in (change.before, change.after)
        for number in (value.median, value.min, value.max, value.count)
    ]
    unit = FIGURES[change.figure][1]
    moved = ("" if value is None else value for value in (change.change, change.allowed))
    return change.case, change.run, change.figure, unit, *numbers, *moved, change.verdict
