"""A profile as CSV: one row for each case, run and figure, with everything that a figure depends on."""

from __future__ import annotations

from collections.abc import Iterator

from ms_omni.profiling.document import FIGURES, OTHER, STAGES, Profile, Run, Spread, Workload
from ms_omni.profiling.report.heading import caveats
from ms_omni.profiling.report.tables import stage_spread
from ms_omni.profiling.report.values import as_csv

COLUMNS = (
    "case", "workload_digest", "prompt_tokens", "thinker_max_new_tokens", "talker_max_new_tokens", "batch_size",
    "side", "engine", "parallel", "cards", "group_size", "dtype", "quantize", "attn_implementation",
    "figure", "unit", "median", "min", "max", "repeats",
    "model", "weights", "device", "mindspore", "commit", "made_at", "caveats",
)  # fmt: skip


def render(profile: Profile) -> str:
    """Unrounded. What was not measured has no row."""
    made = (
        profile.model.name,
        profile.model.weights,
        profile.machine.device,
        profile.versions.get("mindspore", ""),
        profile.commit or "",
        profile.made_at,
        ", ".join(caveats(profile)),
    )
    rows = (
        (*_workload(case.workload), *_side(run), name, unit, values.median, values.min, values.max, values.count, *made)
        for case, run in profile.runs
        for name, unit, values in _figures(run)
    )
    return as_csv(COLUMNS, rows)


def _workload(work: Workload) -> tuple[object, ...]:
    talker_max_new_tokens = work.talker_max_new_tokens if work.speech else ""
    lengths = (work.prompt_tokens, work.thinker_max_new_tokens, talker_max_new_tokens)
    return work.name, work.digest, *lengths, work.batch_size


def _side(run: Run) -> tuple[object, ...]:
    shared = (run.side, run.engine, run.parallel, run.cards, run.group_size)
    return (*shared, run.dtype, run.quantize, run.attn_implementation)


def _figures(run: Run) -> Iterator[tuple[str, str, Spread]]:
    """(name, unit, values) of the figures, the stages, and what happens once."""
    for name, (_, unit, _) in FIGURES.items():
        if name in run.figures:
            yield name, unit, run.figures[name]
    for stage in (*STAGES, OTHER):
        values = stage_spread(run, stage)
        if values is not None:
            yield f"stage_{stage}_s", "s", values
    for name in ("load_s", "first_s", "compile_s"):
        yield name, "s", Spread.of([getattr(run, name)])
