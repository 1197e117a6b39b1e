"""Numbers for readers: units, digits, and a dash for what was not measured."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

from ms_omni.profiling.document import FIGURES, Spread

DASH = "-"
_SCALES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def number(value: float | None) -> str:
    """Three digits; a dash for None and for values that are not finite; 0 for exactly 0."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    exponent = int(f"{value:.2e}".split("e")[1])  # after rounding: 0.9996 is 1.00
    return f"{value:.{max(0, 2 - exponent)}f}" if exponent >= -4 else f"{value:.2e}"


def spread(values: Spread | None, factor: float = 1.0) -> str:
    """Median (least to most); only the median if all are equal."""
    if values is None:
        return DASH
    median, least, most = (number(value * factor) for value in (values.median, values.min, values.max))
    return median if least == most else f"{median} ({least} to {most})"


def times(values: Spread | None) -> str:
    """A ratio: 2.41x (2.30 to 2.55)."""
    text = spread(values)
    return text if values is None else text.replace(number(values.median), f"{number(values.median)}x", 1)


def scale_of(unit: str, values: Iterable[float]) -> tuple[float, str]:
    """(factor, unit) for the largest of `values`: bytes become kB, MB or GB (powers of ten), shares become %, all
    others stay."""
    if unit == "1":
        return 100.0, "%"
    if not unit.startswith("bytes"):
        return 1.0, unit
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    for size, name in _SCALES:
        if largest >= size:
            return 1 / size, unit.replace("bytes", name)
    return 1.0, unit


def figure_row(name: str, of_runs: Iterable[Spread | None]) -> tuple[str, list[str]]:
    """The label of a figure with its unit, and its cell for each run."""
    what, unit, _ = FIGURES[name]
    found = list(of_runs)
    factor, shown = scale_of(unit, (values.max for values in found if values is not None))
    return f"{what}, {shown}", [spread(values, factor) for values in found]


def as_csv(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A heading line and the rows, comma-separated."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def title_of(name: str) -> str:
    """A stage's name for readers: thinker_prefill -> Thinker prefill."""
    return {"code2wav": "Code2Wav", "compile": "compilation", "other": "other"}.get(name) or (
        name.replace("_", " ").replace("thinker", "Thinker").replace("talker", "Talker")
    )
