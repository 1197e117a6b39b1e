"""A profile as CSV: one row for each case, run and figure, with everything that a figure depends on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from ms_omni.profiling.document import FIGURES, OTHER, STAGES, Profile, Run, Spread
from ms_omni.profiling.report.heading import caveats
from ms_omni.profiling.report.tables import stage_spread

COLUMNS = (
    "case", "workload_digest", "prompt_tokens", "thinker_max_new_tokens", "talker_max_new_tokens", "batch_size",
    "side", "engine", "parallel", "cards", "group_size", "dtype", "quantize", "attn_implementation",
    "figure", "unit", "median", "min", "max", "repeats",
    "model", "weights", "device", "mindspore", "commit", "made_at", "caveats",
)  # fmt: skip


def render(profile: Profile) -> str:
    """Numbers as they were measured, unrounded. What was not measured has no row."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    made = (
        profile.model.name,
        profile.model.weights,
        profile.machine.device,
        profile.versions.get("mindspore", ""),
        profile.commit or "",
        profile.made_at,
        ", ".join(caveats(profile)),
    )
    for case in profile.cases:
        work = case.workload
        asked = (
            work.name, work.digest, work.prompt_tokens, work.thinker_max_new_tokens,
            work.talker_max_new_tokens if work.speech else "", work.batch_size,
        )  # fmt: skip
        for run in case.runs:
            for name, unit, values in _figures(run):
                numbers = (values.median, values.min, values.max, values.count)
                rows.writerow((*asked, *_side(run), name, unit, *numbers, *made))
    return text.getvalue()


def _side(run: Run) -> tuple[object, ...]:
    shared = (run.side, run.engine, run.parallel, run.cards, run.group_size)
    return (*shared, run.dtype, run.quantize, run.attn_implementation)


def _figures(run: Run) -> Iterator[tuple[str, str, Spread]]:
    """The figures, then stage_*_s, then what happened once."""
    for name, (_, unit, _) in FIGURES.items():
        if name in run.figures:
            yield name, unit, run.figures[name]
    for stage in (*STAGES, OTHER):
        values = stage_spread(run, stage)
        if values is not None:
            yield f"stage_{stage}_s", "s", values
    for name in ("load_s", "first_s", "compile_s"):
        value = getattr(run, name)
        yield name, "s", Spread(median=value, min=value, max=value, count=1)
