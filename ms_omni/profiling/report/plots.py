"""Plots for the HTML page: SVG from matplotlib, with the page's colours, so that they follow light and dark mode."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

from ms_omni.profiling.document import STAGES, Case, Profile, Repeat, Run
from ms_omni.profiling.report.heading import run_label
from ms_omni.profiling.report.values import title_of

# matplotlib writes these; _svg() replaces them by variables of the page's style sheet
_INK, _MUTED, _GRID = "#0c0001", "#0c0002", "#0c0003"
_VARIABLES = {_INK: "--ink", _MUTED: "--muted", _GRID: "--line"}
NUM_SIDE_COLOURS = 6
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: any script, found by the browser's search
    "text.parse_math": False,  # a name may hold a $
    "font.family": ["sans-serif"],
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _GRID,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}
_LEGEND: Any = {"frameon": False, "labelcolor": _INK}
_WIDTH = 9.6  # inches; the page scales it
_GAP = 0.002  # of the answer: spans of one stage that are closer are drawn as one
_LEAST = 0.001  # of the answer: a shorter stage would be an empty row


def typical(run: Run) -> Repeat | None:
    """The repeat whose whole time is the median (the lower of two)."""
    repeats = sorted(run.repeats, key=lambda repeat: repeat.wall_s)
    return repeats[(len(repeats) - 1) // 2] if repeats else None


def timeline(case: Case, run: Run) -> str:
    """When each stage worked in the typical answer, and below the tokens and frames over time; "" without spans."""
    repeat = typical(run)
    if repeat is None or not repeat.spans:
        return ""
    lengths = {name: sum(end - start for start, end in _stretches(repeat, name)) for name in STAGES}
    present = [name for name in STAGES if lengths[name] > _LEAST * repeat.wall_s]
    marks = {name: points for name, points in repeat.marks.items() if name in _MARKS and len(points) > 1}
    heights = [0.26 * len(present) + 0.1, *([1.3] if marks else [])]
    figure, axes = _figure(sum(heights) + 0.7, heights)
    for row, name in enumerate(reversed(present)):
        bars = [(start, end - start) for start, end in _stretches(repeat, name)]
        axes[0].broken_barh(bars, (row - 0.36, 0.72), facecolors=_stage_colour(name), linewidth=0)
    axes[0].set_yticks(range(len(present)), [title_of(name) for name in reversed(present)])
    axes[0].set_ylim(-0.6, len(present) - 0.4)
    axes[0].grid(axis="y", visible=False)
    for name, points in marks.items():
        _counted(axes[1], name, points, repeat.wall_s)
    if marks:
        axes[0].tick_params(labelbottom=False)
        axes[1].set_ylim(bottom=0)
        axes[1].legend(loc="upper left", **_LEGEND)
    axes[-1].set_xlim(0, repeat.wall_s)
    axes[-1].set_xlabel("seconds from the question")
    return _svg(figure, f"When each stage of {run_label(run)} worked on {case.workload.name}")


_MARKS = {"thinker_tokens": ("new tokens", "thinker_decode"), "talker_frames": ("frames of speech", "talker_decode")}


def _counted(axes: Any, name: str, points: list[tuple[float, int]], wall_s: float) -> None:
    label, stage = _MARKS[name]
    seconds, counts, total = [0.0], [0], 0
    for second, count in points:
        total += count
        seconds.append(second)
        counts.append(total)
    axes.step(
        [*seconds, wall_s], [*counts, total], where="post", color=_stage_colour(stage), label=label, linewidth=1.8
    )


def _stretches(repeat: Repeat, stage: str) -> list[tuple[float, float]]:
    """When the stage worked, with close intervals joined: thousands of steps become one bar."""
    found: list[tuple[float, float]] = []
    for span in sorted((span for span in repeat.spans if span.stage == stage), key=lambda span: span.start_s):
        if found and span.start_s - found[-1][1] <= _GAP * repeat.wall_s:
            found[-1] = (found[-1][0], max(found[-1][1], span.end_s))
        else:
            found.append((span.start_s, span.end_s))
    return found


def speed_curves(profile: Profile, x_of: Callable[[Case], int], x_label: str) -> str:
    """Thinker decode with its limit by the memory bandwidth, and the time to the first token, over a value that differs
    between cases; "" if it has only one value."""
    shown = {"thinker_decode_tokens_per_s": "Thinker decode, tokens/s", "ttft_s": "time to first token, s"}
    what = f"Thinker decode and time to first token against {x_label}"
    return _curves(profile, x_of, x_label, shown, what, _limits)


def batch_curves(profile: Profile) -> str:
    """Speed of all conversations together over their number; "" if all cases have the same number."""
    shown = {
        "thinker_tokens_per_s": "Thinker, tokens/s",
        "talker_frames_per_s": "Talker, frames/s",
        "answers_per_s": "answers/s",
    }
    what = "Thinker tokens, Talker frames and answers a second against conversations at once"
    return _curves(profile, lambda case: case.workload.batch_size, "conversations at once", shown, what)


def _curves(
    profile: Profile,
    x_of: Callable[[Case], int],
    x_label: str,
    shown: Mapping[str, str],
    what: str,
    limits: Callable[[Any, Profile, Callable[[Case], int]], None] | None = None,
) -> str:
    """Figures side by side, each with its title. limits: draws more into the first one."""
    if len({x_of(case) for case in profile.cases}) < 2:
        return ""
    figure, axes = _figure(3.4 + 0.12 * len(labels(profile)), [1.0], columns=len(shown))
    for place, (figure_name, title) in enumerate(shown.items()):
        for label in labels(profile):
            _curve(axes[place], profile, label, figure_name, x_of)
        if limits is not None and not place:
            limits(axes[0], profile, x_of)
        axes[place].set_title(title, loc="left", fontsize=10, color=_INK)
        axes[place].set_xlabel(x_label)
        axes[place].set_xlim(left=0)
        _scale(axes[place])
    columns = 2 if max(map(len, labels(profile))) < 40 else 1
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=columns, **_LEGEND)
    return _svg(figure, what)


def _curve(axes: Any, profile: Profile, label: str, name: str, x_of: Callable[[Case], int]) -> None:
    """Medians as a line, with a bar from least to most at each."""
    found = [(x_of(case), run.figures.get(name)) for case, run in profile.runs if run_label(run) == label]
    points = sorted(((x, values) for x, values in found if values is not None), key=lambda point: point[0])
    if not points:
        return
    xs, medians = [x for x, _ in points], [values.median for _, values in points]
    below = [values.median - values.min for _, values in points]
    above = [values.max - values.median for _, values in points]
    colour = _side_colour(profile, label)
    axes.errorbar(
        xs, medians, yerr=[below, above], color=colour, marker="o", markersize=5, capsize=3, label=_short(label)
    )


def _scale(axes: Any) -> None:
    """From 0; logarithmic if one side is so much faster that the other would look like 0."""
    heights = [height for line in axes.lines for height in line.get_ydata() if height > 0]
    if not heights or max(heights) < 20 * min(heights):
        axes.set_ylim(bottom=0)
        return
    from matplotlib.ticker import LogLocator

    def written(value: float, _: int) -> str:
        return f"{value:g}"

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(written)
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_minor_formatter(written if max(heights) < 100 * min(heights) else "")


def _limits(axes: Any, profile: Profile, x_of: Callable[[Case], int]) -> None:
    """The speed that the memory's bandwidth allows."""
    for label in labels(profile):
        found = [(x_of(case), bandwidth_limit(run)) for case, run in profile.runs if run_label(run) == label]
        points = sorted((x, limit) for x, limit in found if limit is not None)
        if points:
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, color=_side_colour(profile, label), linestyle="--", linewidth=1.2,
                      label=f"{_short(label)}: limit of the bandwidth")  # fmt: skip


def bandwidth_limit(run: Run) -> float | None:
    """Tokens/s of Thinker decode at the full bandwidth of the memory; None if its share was not measured."""
    share, speed = run.figures.get("bandwidth_share"), run.figures.get("thinker_decode_tokens_per_s")
    return speed.median / share.median if share and speed and share.median > 0 else None


def labels(profile: Profile) -> list[str]:
    """The labels of all sides, each once."""
    return list(dict.fromkeys(run_label(run) for _, run in profile.runs))


def side_number(profile: Profile, label: str) -> int:
    """From 0; colours repeat after NUM_SIDE_COLOURS."""
    return labels(profile).index(label) % NUM_SIDE_COLOURS


def _side_colour(profile: Profile, label: str) -> str:
    return f"#0d00{side_number(profile, label):02d}"


def _stage_colour(stage: str) -> str:
    return f"#0e00{STAGES.index(stage):02d}"


def _short(text: str, length: int = 40) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _figure(height: float, heights: list[float], columns: int = 1) -> tuple[Any, list[Any]]:
    """With matplotlib's object interface: no global state, no display."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        share: Any = "col" if len(heights) > 1 else "none"
        axes = figure.subplots(len(heights), columns, sharex=share, height_ratios=heights, squeeze=False)
    return figure, list(axes.flat)


def _svg(figure: Any, title: str) -> str:
    """The <svg> element: scalable, transparent, with ids that are unique on a page."""
    from html import escape

    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": title}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    prefix = f"p{crc32(title.encode()):08x}-"
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    return re.sub(r"#0[cde]00\d\d", _variable, svg)


def _variable(match: re.Match[str]) -> str:
    colour = match[0]
    if colour in _VARIABLES:
        return f"var({_VARIABLES[colour]})"
    number = int(colour[-2:])
    return f"var(--side-{number})" if colour[2] == "d" else f"var(--stage-{STAGES[number].replace('_', '-')})"
