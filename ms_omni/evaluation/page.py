"""An evaluation or a comparison for a terminal, in Markdown, or as one HTML page with its recordings to click."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ms_omni.evaluation import views
from ms_omni.evaluation.comparison import Comparison
from ms_omni.evaluation.evaluation import Evaluation
from ms_omni.evaluation.scores import NO_LANGUAGE, Row
from ms_omni.tables.html import template
from ms_omni.tables.markdown import page
from ms_omni.tables.terminal import draw

# how a report's file ends -> its format
FORMATS = {".html": "html", ".htm": "html", ".md": "markdown"}


def terminal(one: Evaluation | Comparison, worst: int) -> str:
    """Tables as wide as the terminal. worst: how many rows are shown."""
    below = [f"{name}: {value}" for name, value in views.facts(one)]
    return draw(views.title(one), views.tables(one, worst), below)


def report(one: Evaluation | Comparison, path: Path, worst: int) -> str:
    """The text of the report that will be at `path`, whose end is a key of FORMATS. worst: how many rows it shows."""
    return _html(one, path, worst) if FORMATS[path.suffix.lower()] == "html" else _markdown(one, path, worst)


def _markdown(one: Evaluation | Comparison, path: Path, worst: int) -> str:
    return page(views.title(one), views.tables(one, worst, path), facts=views.facts(one))


def _html(one: Evaluation | Comparison, path: Path, worst: int) -> str:
    if isinstance(one, Comparison):
        pairs = [pair for pair in one.changed if pair[0].value != pair[1].value][:worst]
        rows = [_row(one.a, {"A": a, "B": b}, path) for a, b in pairs]
        heading = f"Rows that changed ({len(rows)}), those that became worse in B first"
        tables = [views.differences(one), views.scores(one.a, "Run A"), views.scores(one.b, "Run B")]
        failed = {"run A: ": one.a.failed, "run B: ": one.b.failed}
    else:
        rows = [_row(one, {"": row}, path) for row in one.rows[:worst]]
        heading = f"Worst rows ({len(rows)} of {len(one.rows)})"
        tables, failed = [views.scores(one)], {"": one.failed}
    return str(
        template("evaluation.html.j2").render(
            title=views.title(one),
            chips=[f"{run}{len(ids)} without an answer" for run, ids in failed.items() if ids],
            tables=tables,
            rows=rows,
            heading=heading,
            facts=views.facts(one),
        )
    )


def _row(evaluation: Evaluation, sides: dict[str, Row], path: Path) -> dict[str, Any]:
    """sides: of each run its name and row."""
    first = next(iter(sides.values()))
    return {
        "id": first.id,
        "language": "" if first.language == NO_LANGUAGE else first.language,
        "reference": first.reference,
        "media": [views.linked(kind, name, evaluation.reference, path) for kind, name in first.media],
        "sides": [
            {"name": name, "figure": f"{views.name_of(evaluation)} {row.value:.2f}", "row": row}
            for name, row in sides.items()
        ],
    }
