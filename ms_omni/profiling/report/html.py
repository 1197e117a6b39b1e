"""A profile as one self-contained HTML page: no script, no request."""

from __future__ import annotations

from typing import Any

from ms_omni.profiling.document import OTHER, STAGES, Case, Profile, Run
from ms_omni.profiling.report import plots, tables
from ms_omni.profiling.report.heading import (
    answer_of,
    caveats,
    precision_of,
    prompt_of,
    provenance,
    repeats_of,
    run_label,
    title,
    where,
)
from ms_omni.profiling.report.values import DASH, number, times, title_of
from ms_omni.tables.html import template

REAL_TIME_FRAMES = 12.5
# (what a tile says, figure, unit)
_TILES = (
    ("Thinker decode", "thinker_decode_tokens_per_s", "tokens/s"),
    ("Talker", "talker_frames_per_s", "frames/s"),
    ("first token", "ttft_s", "s"),
    ("first audio", "first_audio_s", "s"),
    ("whole answer", "wall_s", "s"),
)


def render(profile: Profile) -> str:
    """The page as text."""
    page = {
        "title": title(profile),
        "model": profile.model.name,
        "where": where(profile),
        "caveats": caveats(profile),
        "made": [
            profile.made_at,
            f"commit {profile.commit or 'unknown'}",
            f"{repeats_of(profile)} a side, medians",
        ],
        "cases": [_case(profile, case) for case in profile.cases],
        "overview": tables.overview(profile) if len(profile.cases) > 1 else None,
        "batches": next(iter(tables.batches(profile)), None),
        "curves": _curves(profile),
        "memory": _memory(profile),
        "limits": _limits(profile),
        "throughput": tables.throughput(profile),
        "asked": [tables.workloads(profile), *tables.skipped(profile)],
        "facts": provenance(profile),
    }
    return str(template("profile.html.j2").render(page))


def _case(profile: Profile, case: Case) -> dict[str, Any]:
    sides = [_side(profile, case, run) for run in case.runs]
    return {
        "name": case.workload.name,
        "prompt": prompt_of(case),
        "answer": answer_of(case),
        "media": ", ".join(case.workload.media),
        "sides": sides,
        "has_timeline": any(side["timeline"] for side in sides),
        "stages": _stacks(case),
        "tables": [tables.figures(case), tables.stages(case), *tables.ranks(case)],
    }


def _side(profile: Profile, case: Case, run: Run) -> dict[str, Any]:
    label = run_label(run)
    return {
        "label": label,
        "number": plots.side_number(profile, label),
        "tiles": [_tile(case, run, *tile) for tile in _TILES] + [("peak memory", tables.peak_memory(run), "", "")],
        "ratios": _ratios(case, run),
        "notes": run.notes,
        "detail": f"{precision_of(run)}, {run.attn_implementation} attention; {_count(run)}",
        "timeline": plots.timeline(case, run),
    }


def _count(run: Run) -> str:
    count = len(run.repeats)
    return "one repeat, so no spread is known" if count == 1 else f"{count} repeats"


def _tile(case: Case, run: Run, label: str, name: str, unit: str) -> tuple[str, str, str, str]:
    """(what, figure, unit, line below): least to most; for speech, how many times real time."""
    values = run.figures.get(name)
    if values is None:
        spoken = name in ("talker_frames_per_s", "first_audio_s")
        return label, DASH, "", "no speech" if spoken and not case.workload.speech else "not measured"
    below = f"{number(values.min)} to {number(values.max)}" if values.count > 1 else ""
    if name == "talker_frames_per_s":
        below = f"{number(values.median / REAL_TIME_FRAMES)}x real time"
    return label, number(values.median), unit, below


def _ratios(case: Case, run: Run) -> list[str]:
    """Thinker decode 33.7x (18.4 to 38.7) of mindone"""
    shown = {"thinker_decode_tokens_per_s": "Thinker decode", "talker_frames_per_s": "Talker", "wall_s": "whole answer"}
    found = [ratio for name in shown for ratio in case.ratios if ratio.side == run.side and ratio.figure == name]
    return [f"{shown[ratio.figure]}: {times(ratio.ratio)} as fast as {ratio.baseline}" for ratio in found]


def _stacks(case: Case) -> dict[str, Any]:
    """The stages of each side's typical answer as parts of a bar, all on one scale."""
    chosen = [(run, repeat) for run in case.runs if (repeat := plots.typical(run)) is not None]
    longest = max((repeat.wall_s for _, repeat in chosen), default=0.0)
    bars: list[dict[str, Any]] = []
    for run, repeat in chosen:
        seconds = {**repeat.stages_s, OTHER: repeat.other_s}
        parts = [_part(name, seconds[name], repeat.wall_s) for name in (*STAGES, OTHER) if seconds.get(name, 0.0) > 0]
        width = 100 * repeat.wall_s / longest if longest else 0.0
        bars.append({"label": run_label(run), "seconds": number(repeat.wall_s), "width": width, "parts": parts})
    used = {part["name"] for bar in bars for part in bar["parts"]}
    legend = [(name.replace("_", "-"), title_of(name)) for name in (*STAGES, OTHER) if title_of(name) in used]
    # If one side takes much longer than another, a second set of bars shows each as 100 %
    return {"bars": bars, "legend": legend, "uneven": any(bar["width"] < 50 for bar in bars)}


def _part(name: str, seconds: float, wall_s: float) -> dict[str, Any]:
    share = 100 * seconds / wall_s
    return {"name": title_of(name), "colour": name.replace("_", "-"), "share": share, "seconds": number(seconds)}


def _curves(profile: Profile) -> list[str]:
    found = (
        plots.speed_curves(profile, lambda case: case.workload.prompt_tokens, "prompt tokens"),
        plots.batch_curves(profile),
    )
    return [svg for svg in found if svg]


def _memory(profile: Profile) -> list[dict[str, Any]]:
    """Bars of the peaks of each case and side, of process and device, all on one scale."""
    peaks = [
        (case, run, what, run.figures[name].median)
        for case, run in profile.runs
        for name, what in (("peak_device_bytes", "device"), ("peak_host_bytes", "process"))
        if name in run.figures
    ]
    largest = max((peak for *_, peak in peaks), default=0.0)
    return [
        {**_bar(profile, case, run, peak / largest if largest else 0.0, tables.in_bytes(peak)), "what": what}
        for case, run, what, peak in peaks
    ]


def _limits(profile: Profile) -> list[dict[str, Any]]:
    """Thinker decode as a share of what the memory's bandwidth allows."""
    rows = []
    for case, run in profile.runs:
        limit = plots.bandwidth_limit(run)
        if limit is not None:
            speed, share = run.figures["thinker_decode_tokens_per_s"].median, run.figures["bandwidth_share"].median
            text = f"{number(speed)} of {number(limit)} tokens/s, {number(100 * share)} %"
            rows.append(_bar(profile, case, run, min(1.0, share), text))
    return rows


def _bar(profile: Profile, case: Case, run: Run, share: float, text: str) -> dict[str, Any]:
    label = run_label(run)
    side = {"case": case.workload.name, "side": label, "number": plots.side_number(profile, label)}
    return {**side, "width": 100 * share, "text": text}
