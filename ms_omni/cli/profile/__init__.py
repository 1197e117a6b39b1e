"""`ms-omni profile`: measure answers of one engine, or of several in turn, and report stages, speeds and memory."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from ms_omni.cli import flags
from ms_omni.cli.parser import whole_number, whole_numbers
from ms_omni.cli.settings import merge_settings
from ms_omni.cli.terminal import print_note
from ms_omni.errors import did_you_mean
from ms_omni.profiling.report import FORMATS, SUFFIXES

if TYPE_CHECKING:  # these import numpy or pydantic, which --help need not wait for
    from ms_omni.cli.profile.job import ProfileJob
    from ms_omni.profiling.document import Profile

USAGE = (
    "ms-omni profile [--model DIR] [--workload NAME|FILE.yaml] [--compare mindone,fused] [--batch 1,4,8] [--out DIR] "
    "[flags]"
)
HELP = "measure stages, tokens/s, memory and collectives of answers"
EXIT_SOME_SKIPPED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured, of which engines, and what is reported."""
    flags.absent_flags_are_unset(parser)
    measured = parser.add_argument_group("what to measure")
    _add_workload_flags(measured)
    flags.add_speaker(measured)
    flags.add_media(measured)
    flags.add_decoding(parser)
    other = parser.add_argument_group("reports and settings")
    flags.add_sizes(other)
    _add_report_flags(other)
    flags.add_config(other)


def _add_workload_flags(group: Any) -> None:
    add = group.add_argument
    workload = "of configs/workloads, or your own file; may repeat (default text)"
    add("--workload", metavar="NAME|FILE.yaml", action="append", help=workload)
    conversation = "your own conversation, a JSON list of messages; may repeat"
    add("--conversation", metavar="FILE", action="append", help=conversation)
    compare = "measure mindone, fused, transformers alternately, in minutes; fused:ep is --parallel ep"
    add("--compare", metavar="ENGINE,ENGINE", type=_sides, help=compare)
    batch = "conversations that are asked at once, a case for each number (default 1)"
    add("--batch", metavar="N,N", type=whole_numbers, help=batch)
    add("--repeats", metavar="N", type=whole_number(1), help="measured answers of each engine (default 3)")
    add("--warm-up", metavar="N", type=whole_number(0), help="answers before them, not counted (default 1)")
    add("--speak", action=flags.ON_OR_OFF, help="speak all answers, or none, whatever the workloads say")


def _add_report_flags(group: Any) -> None:
    add = group.add_argument
    add("--out", metavar="DIR", help="write profile.json there as the run goes, and the other formats at its end")
    formats = "one on stdout, or several, with commas, in --out (default table)"
    add("--format", metavar="|".join(FORMATS), type=_formats, help=formats)
    add("--figures", metavar="NAME,NAME", type=_figures, help="show only these (profile.json holds all)")
    trace = "write stages for Perfetto, and record another answer of each engine by MindSpore's profiler"
    add("--trace", metavar="DIR", help=trace)


def run(args: argparse.Namespace) -> int:
    """Check everything cheap, then load, measure and report. Exit code 1 when some case could not be measured."""
    from ms_omni.cli.profile.job import check_profile
    from ms_omni.cli.profile.measuring import measure_all
    from ms_omni.cli.quiet import results_only_on_stdout

    with results_only_on_stdout(args.debug) as results:
        job = check_profile(merge_settings(args, "profile"))
        measured = measure_all(job)
        if measured is None:
            return 0  # another process of the job reports
        profile, interrupt = measured
        _report(job, profile, results)
        if interrupt is not None:
            raise interrupt
        return _code(profile)


def _report(job: ProfileJob, profile: Profile, results: TextIO) -> None:
    """With --out the formats as files and the table on stdout; without it one format on stdout."""
    from ms_omni.files import write_text
    from ms_omni.profiling.report import render

    if not profile.cases:
        return
    chosen = _with_figures(profile, job.figures)
    on_stdout = job.formats[0] if job.out is None else "table"
    results.write(render(profile if on_stdout == "json" else chosen, on_stdout))
    results.flush()
    if job.out is not None:
        files = [job.out / "profile.json"]  # written all along
        for name in job.formats:
            if name not in ("table", "json"):
                files.append(job.out / f"profile{SUFFIXES[name]}")
                write_text(files[-1], render(chosen, name))
        print_note(f"wrote {', '.join(map(str, files))}")


def _with_figures(profile: Profile, figures: tuple[str, ...]) -> Profile:
    """With these figures alone; all of them where none is named."""
    if not figures:
        return profile
    cases = []
    for case in profile.cases:
        runs = [
            run.model_copy(update={"figures": {name: run.figures[name] for name in figures if name in run.figures}})
            for run in case.runs
        ]
        ratios = [ratio for ratio in case.ratios if ratio.figure in figures]
        cases.append(case.model_copy(update={"runs": runs, "ratios": ratios, "shown": list(figures)}))
    return profile.model_copy(update={"cases": cases})


def _code(profile: Profile) -> int:
    for skipped in profile.skipped:
        side = "" if skipped.side is None else f" ({skipped.side})"
        print_note(f"not measured: {skipped.workload}{side}: {skipped.reason}")
    return EXIT_SOME_SKIPPED if profile.skipped else 0


def _names(text: str, known: Iterable[str], what: str) -> tuple[str, ...]:
    """The words between commas, each once, of `known`."""
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for word in words:
        if word not in known:
            guess = did_you_mean(word, known)
            raise argparse.ArgumentTypeError(f"unknown {what} {word!r}{guess}; expected {', '.join(known)}")
    return words


def _formats(text: str) -> tuple[str, ...]:
    return _names(text, FORMATS, "format")


def _figures(text: str) -> tuple[str, ...]:
    from ms_omni.profiling.document import FIGURES

    return _names(text, FIGURES, "figure")


def _sides(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if len(set(words)) < len(words):
        raise argparse.ArgumentTypeError(f"{text!r} names a side twice")
    return words
