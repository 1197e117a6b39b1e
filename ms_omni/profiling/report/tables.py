"""The tables of a profile, for every format that prints tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ms_omni.profiling.document import FIGURES, OF_ONE, OF_SEVERAL, OTHER, STAGES, Case, Profile, Run, Spread
from ms_omni.profiling.report.heading import answer_of, precision_of, prompt_of, run_label
from ms_omni.profiling.report.values import DASH, figure_row, number, scale_of, spread, times, title_of
from ms_omni.tables import Table

# Parts of the throughput table -> the figure in its column "tokens/s". As in mindone, a token of the Talker is a frame;
# the last row counts its 16 codes.
PARTS = {
    "Thinker": "thinker_tokens_per_s",
    "Thinker, decode": "thinker_decode_tokens_per_s",
    "Thinker, prefill": "thinker_prefill_tokens_per_s",
    "Talker": "talker_frames_per_s",
    "Talker, all codes": "talker_tokens_per_s",
}
PARTS_NOTES = (
    "Thinker: new tokens over prefill and decode together. Thinker, decode: new tokens after the first. Thinker, "
    "prefill: tokens of the prompt.",
    "Talker: frames of 80 ms, each one token of the Talker, with its code predictor; 12.5 frames/s are real time. "
    "Talker, all codes: 16 a frame.",
)
# column -> figure
OVERVIEW = {
    "prefill tokens/s": "thinker_prefill_tokens_per_s",
    "decode tokens/s": "thinker_decode_tokens_per_s",
    "first token s": "ttft_s",
    "ms/token": "tpot_median_ms",
    "Talker frames/s": "talker_frames_per_s",
    "first audio s": "first_audio_s",
    "real-time factor": "real_time_factor",
    "answer s": "wall_s",
}
BATCHES = {
    "Thinker tokens/s": "thinker_tokens_per_s",
    "Talker frames/s": "talker_frames_per_s",
    "answers/s": "answers_per_s",
    "Thinker rows": "thinker_rows",
    "Talker rows": "talker_rows",
}
# column -> figures: median over the conversations, longest
BATCH_WAITS = {
    "turn s": ("queue_s", "queue_worst_s"),
    "first token s": ("ttft_s", "ttft_worst_s"),
    "first audio s": ("first_audio_s", "first_audio_worst_s"),
}
BATCHES_NOTES = (
    "Tokens, frames and answers of all conversations together. Rows: conversations that shared a step, on average. "
    "Seconds from the question until a conversation's turn, first token and first audio: the median conversation's, "
    "and in brackets the last one's.",
)


def of_profile(profile: Profile) -> list[Table]:
    """Overview and conversations at once, then each case's figures, stages, collectives and ranks."""
    found = [overview(profile), *batches(profile)] if profile.cases else []
    for case in profile.cases:
        found += [figures(case), stages(case), *collectives(case), *ranks(case)]
    return [*found, workloads(profile), *skipped(profile)]


def overview(profile: Profile) -> Table:
    """A row for each case and side: medians."""
    columns = ("case", "side", "prompt tokens", *OVERVIEW, "peak memory")
    rows = tuple(
        (
            case.workload.name,
            run_label(run),
            str(case.workload.prompt_tokens),
            *(number(_median(run, name)) for name in OVERVIEW.values()),
            peak_memory(run),
        )
        for case, run in profile.runs
    )
    return Table("Overview: medians", columns, rows, text_columns=2)


def batches(profile: Profile) -> Iterable[Table]:
    """If several conversations were asked at once: medians, a row for each case and side."""
    if all(case.workload.batch_size == 1 for case in profile.cases):
        return
    rows = tuple(
        (
            case.workload.name,
            run_label(run),
            str(case.workload.batch_size),
            *(number(_median(run, name)) for name in BATCHES.values()),
            *(_waits(run, *names) for names in BATCH_WAITS.values()),
        )
        for case, run in profile.runs
    )
    columns = ("case", "side", "at once", *BATCHES, *BATCH_WAITS)
    yield Table("Conversations at once", columns, rows, text_columns=2, notes=BATCHES_NOTES)


def _waits(run: Run, median_of_all: str, longest: str) -> str:
    middle, last = _median(run, median_of_all), _median(run, longest)
    return number(middle) + (f" ({number(last)})" if last is not None else "")


def throughput(profile: Profile) -> Table:
    """The columns of the seed's table, then what else a figure depends on."""
    columns = (
        "model name", "mindspore version", "precision", "cards", "Model part", "attention type", "tokens/s",
        "least to most", "repeats", "engine", "parallel", "case", "prompt tokens",
    )  # fmt: skip
    rows = tuple(
        _throughput_row(profile, case, run, part, name) for case, run in profile.runs for part, name in PARTS.items()
    )
    return Table("Throughput", columns, rows, text_columns=0, notes=PARTS_NOTES)


def _throughput_row(profile: Profile, case: Case, run: Run, part: str, name: str) -> tuple[str, ...]:
    values = run.figures.get(name)
    width = f"{number(values.min)} to {number(values.max)}" if values and values.count > 1 else DASH
    version = DASH if run.engine == "transformers" else profile.versions.get("mindspore", DASH)
    return (
        profile.model.name,
        version,
        precision_of(run, short=True),
        str(run.cards),
        part,
        run.attn_implementation,
        number(values.median if values else None),
        width,
        str(values.count) if values else DASH,
        run.side,
        run.parallel,
        case.workload.name,
        str(case.workload.prompt_tokens),
    )


def figures(case: Case) -> Table:
    """A row for each figure, a column for each run and each ratio within rounds."""
    shown = [name for name in FIGURES if any(name in run.figures for run in case.runs)]
    pairs = list(dict.fromkeys((ratio.side, ratio.baseline) for ratio in case.ratios))
    rows = []
    for name in shown:
        label, cells = figure_row(name, (run.figures.get(name) for run in case.runs))
        rows.append((label, *cells, *(times(_ratio(case, name, pair)) for pair in pairs)))
    columns = ("median (least to most)", *(run_label(run) for run in case.runs), *(f"{a} / {b}" for a, b in pairs))
    others = OF_ONE if case.workload.batch_size > 1 else OF_SEVERAL
    missing = [name for name in case.shown or FIGURES if name not in (*shown, *others)]
    return Table(
        f"{case.workload.name}: figures", columns, tuple(rows), notes=tuple(_notes(case, missing, bool(pairs)))
    )


def _notes(case: Case, missing: list[str], has_ratios: bool) -> Iterator[str]:
    if has_ratios:
        yield "Ratios are taken within each round; above 1 the first side is better."
    if missing:
        yield f"Not measured: {'; '.join(FIGURES[name][0] for name in missing)}."
    for run in case.runs:
        if len(run.repeats) == 1:
            yield f"{run_label(run)}: one repeat, so no spread is known."
        yield from (f"{run_label(run)}: {note}" for note in run.notes)
    digests = {run.answer_digest for run in case.runs if run.answer_digest}
    if len(digests) > 1:
        yield "The sides did not give the same answer."


def _ratio(case: Case, name: str, pair: tuple[str, str]) -> Spread | None:
    found = (ratio.ratio for ratio in case.ratios if ratio.figure == name and (ratio.side, ratio.baseline) == pair)
    return next(found, None)


def stages(case: Case) -> Table:
    """Own seconds and share of each stage; then loading, the first answer and its compilation."""
    rows = []
    for name in (*STAGES, OTHER):
        cells = [_stage_cell(run, name) for run in case.runs]
        if any(cell != DASH for cell in cells):
            rows.append((title_of(name), *cells))
    rows.append(("whole answer", *(spread(_wall(run)) for run in case.runs)))
    for label, field in (
        ("apart: loading", "load_s"),
        ("apart: first answer", "first_s"),
        ("in it: compilation", "compile_s"),
    ):
        rows.append((label, *(number(getattr(run, field)) for run in case.runs)))
    columns = ("stage, s", *(run_label(run) for run in case.runs))
    note = "Medians of each stage's own time: in every single answer the stages and other add up to the whole."
    return Table(f"{case.workload.name}: stages", columns, tuple(rows), notes=(note,))


def _stage_cell(run: Run, name: str) -> str:
    values, wall = stage_spread(run, name), _wall(run)
    if values is None:
        return DASH
    share = f" ({values.median / wall.median:.0%})" if wall and wall.median else ""
    return number(values.median) + share


def stage_spread(run: Run, name: str) -> Spread | None:
    """Over the repeats; None if the stage did not occur."""
    if name in run.stages_s:
        return run.stages_s[name]
    return Spread.of([repeat.other_s for repeat in run.repeats]) if name == OTHER and run.repeats else None


def _wall(run: Run) -> Spread | None:
    found = run.figures.get("wall_s")
    return found if found or not run.repeats else Spread.of([repeat.wall_s for repeat in run.repeats])


def collectives(case: Case) -> Iterable[Table]:
    """If there are any: calls and bytes by kind, for each Thinker token and each Talker frame."""
    counted = {
        f"{run_label(run)}, {unit}": table
        for run in case.runs
        for unit, table in (("a token", run.per_token), ("a frame", run.per_frame))
        if table.get("collectives")
    }
    if not counted:
        return
    kinds = dict.fromkeys(name for table in counted.values() for name in table if f"{name}_bytes" in table)
    sizes = {kind: f"{kind}_bytes" for kind in kinds} | {"collectives": "collective_bytes"}
    rows = [
        (kind, *(_calls(table.get(kind), table.get(size)) for table in counted.values()))
        for kind, size in sizes.items()
    ]
    note = "Calls while decoding, and in brackets the bytes that each process holds afterwards."
    yield Table(f"{case.workload.name}: collectives", ("kind", *counted), tuple(rows), notes=(note,))


def _calls(calls: float | None, size: float | None) -> str:
    return DASH if calls is None else f"{number(calls)} ({in_bytes(size)})"


def ranks(case: Case) -> Iterable[Table]:
    """A table for each run of several processes."""
    for run in case.runs:
        if not run.ranks:
            continue
        rows = [
            (
                str(rank.rank),
                number(rank.wall_s),
                number(rank.skew_s),
                in_bytes(rank.peak_host_bytes),
                in_bytes(rank.peak_device_bytes),
            )
            for rank in run.ranks
        ]
        columns = ("rank", "answer s", "ended before the slowest s", "peak host memory", "peak device memory")
        note = "The job's time is that of the slowest rank; nothing is added over ranks."
        yield Table(f"{case.workload.name}: ranks of {run_label(run)}", columns, tuple(rows), 0, (note,))


def workloads(profile: Profile) -> Table:
    """A row for each case: prompt, answer, media, digest."""
    columns = ("case", "prompt", "answer", "media", "batch", "digest")
    rows = []
    for case in profile.cases:
        work = case.workload
        media = ", ".join(work.media) or DASH
        rows.append((work.name, prompt_of(case), answer_of(case), media, str(work.batch_size), work.digest[:16]))
    return Table("What was asked", columns, tuple(rows), text_columns=4)


def skipped(profile: Profile) -> Iterable[Table]:
    """What could not be measured, if anything."""
    if profile.skipped:
        rows = tuple((item.workload, item.side or "every side", item.reason) for item in profile.skipped)
        yield Table("Not measured", ("case", "side", "reason"), rows, text_columns=3)


def peak_memory(run: Run) -> str:
    """The device's if it is known, else the process's."""
    device, host = _median(run, "peak_device_bytes"), _median(run, "peak_host_bytes")
    return in_bytes(device) if device is not None else in_bytes(host)


def in_bytes(value: float | None) -> str:
    """With kB, MB or GB; a dash for None."""
    if value is None:
        return DASH
    factor, unit = scale_of("bytes", [value])
    return f"{number(value * factor)} {unit}"


def _median(run: Run, name: str) -> float | None:
    values = run.figures.get(name)
    return values.median if values else None
