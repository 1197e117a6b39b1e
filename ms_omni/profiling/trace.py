"""Traces: the stages of a profile for Perfetto, and what MindSpore's own profiler records of the device."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ms_omni.profiling.document import Case, Profile, Repeat, Run
from ms_omni.profiling.report.heading import run_label, title
from ms_omni.profiling.report.values import title_of

# Tracks of a process: whole answers, then the stages by thread and depth, since slices of a track may only nest
_ANSWERS, _FIRST_STAGE = 0, 1
# For Perfetto, thread 0 is a process's first thread, and thread numbers are unique over all processes: process 200 has
# the tracks 200, 201, ...
_NUMBERS = 100
_BETWEEN_REPEATS = 0.02  # of an answer
_TRACE_FILE = "trace_view.json"  # of mindspore.profiler 2.7.1, a Chrome trace as well


def chrome_trace(profile: Profile) -> dict[str, Any]:
    """A document in Chrome's trace event format ("JSON object"), which Perfetto opens: a process for each case and run,
    with its repeats one after the other, stages as slices, tokens and frames as counters. Other ranks of a run have a
    process each, with their whole answer only: a repeat's stages are those of its slowest rank."""
    events: list[dict[str, Any]] = []
    process = 0
    for case in profile.cases:
        for run in case.runs:
            process += _NUMBERS
            events += _run_events(process, case, run)
            for rank in run.ranks:
                if rank.rank:
                    process += _NUMBERS
                    name = f"{case.workload.name}: {run_label(run)}, rank {rank.rank}"
                    events += _named(process, name, {_ANSWERS: "answer, median"})
                    events.append(_slice(process, _ANSWERS, "answer", 0.0, rank.wall_s, {"skew_s": rank.skew_s}))
    about = {"title": title(profile), "commit": profile.commit or "unknown", "made_at": profile.made_at}
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}


def _run_events(process: int, case: Case, run: Run) -> Iterator[dict[str, Any]]:
    places = sorted({(span.thread, span.depth) for repeat in run.repeats for span in repeat.spans})
    track_of = {place: _FIRST_STAGE + number for number, place in enumerate(places)}
    tracks = {_ANSWERS: "answers", **{track: _track_name(*place) for place, track in track_of.items()}}
    yield from _named(process, f"{case.workload.name}: {run_label(run)}", tracks)
    start_s = 0.0
    for repeat in run.repeats:
        about = {"round": repeat.round, "other_s": repeat.other_s, **repeat.figures}
        yield _slice(process, _ANSWERS, f"repeat {repeat.round}", start_s, repeat.wall_s, about)
        for span in repeat.spans:
            length = span.end_s - span.start_s
            track = track_of[span.thread, span.depth]
            yield _slice(process, track, title_of(span.stage), start_s + span.start_s, length, {})
        yield from _counters(process, repeat, start_s)
        start_s += repeat.wall_s * (1 + _BETWEEN_REPEATS)


def _track_name(thread: int, depth: int) -> str:
    of_thread = f" of thread {thread}" if thread else ""
    return f"stages{of_thread}" if not depth else f"stages{of_thread} within, depth {depth}"


def _counters(process: int, repeat: Repeat, start_s: float) -> Iterator[dict[str, Any]]:
    """The marks of one answer, summed up to each moment."""
    for name, points in repeat.marks.items():
        total = 0
        for second, count in [(0.0, 0), *points]:
            total += count
            yield _counter(process, name, start_s + second, total)
        yield _counter(process, name, start_s + repeat.wall_s * (1 + _BETWEEN_REPEATS / 2), 0)


def _counter(process: int, name: str, second: float, total: int) -> dict[str, Any]:
    return {"ph": "C", "name": name, "pid": process, "ts": _us(second), "args": {"so far": total}}


def _named(process: int, name: str, tracks: dict[int, str]) -> Iterator[dict[str, Any]]:
    yield _metadata(process, _ANSWERS, "process_name", name=name)
    yield _metadata(process, _ANSWERS, "process_sort_index", sort_index=process)
    for track, text in tracks.items():
        yield _metadata(process, track, "thread_name", name=text)
        yield _metadata(process, track, "thread_sort_index", sort_index=track)


def _metadata(process: int, track: int, what: str, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": process + track, "args": args}


def _slice(
    process: int, track: int, name: str, start_s: float, length_s: float, args: dict[str, Any]
) -> dict[str, Any]:
    start_us = _us(start_s)
    return {
        "ph": "X",
        "name": name,
        "cat": "stage" if track else "answer",
        "pid": process,
        "tid": process + track,
        "ts": start_us,
        "dur": max(0, _us(start_s + length_s) - start_us),
        "args": args,
    }


def _us(seconds: float) -> int:
    """Whole microseconds: with fractions, slices that touch might overlap, and the viewer would nest them."""
    return round(seconds * 1e6)


@dataclass
class DeviceTrace:
    """What MindSpore's profiler wrote. traces: Chrome traces, for Perfetto or MindStudio Insight. num_operators: their
    slices. note: one line for the user, also if nothing was recorded."""

    directory: Path
    traces: list[Path] = field(default_factory=list)
    num_operators: int = 0
    note: str = ""


@contextmanager
def device_trace(directory: str | Path) -> Iterator[DeviceTrace]:
    """Records the block with mindspore.profiler into `directory`: operators of the host and, on Ascend, of the device,
    with CANN's calls and communication. Recording slows the answer down, so do not measure inside. A profiler that
    cannot start or read its own files gives a note, not an error; errors of the block are raised."""
    trace = DeviceTrace(Path(directory))
    trace.directory.mkdir(parents=True, exist_ok=True)
    before = set(trace.directory.rglob(_TRACE_FILE))
    profiler, failure = _started(trace.directory)
    try:
        yield trace
    finally:
        if profiler is not None:
            failure = _stopped(profiler)
        trace.traces = sorted(set(trace.directory.rglob(_TRACE_FILE)) - before)
        trace.num_operators = sum(_num_slices(path) for path in trace.traces)
        trace.note = _note(trace, failure)


def _started(directory: Path) -> tuple[Any, str]:
    """The running profiler, or None and what went wrong."""
    try:
        import mindspore
        from mindspore import profiler

        activities = [profiler.ProfilerActivity.CPU]
        if mindspore.get_context("device_target") == "Ascend":
            activities.append(profiler.ProfilerActivity.NPU)
        # Level1: with CANN's calls and each transfer of communication; PipeUtilization is this level's default
        settings = profiler._ExperimentalConfig(
            profiler_level=profiler.ProfilerLevel.Level1,
            aic_metrics=profiler.AicoreMetrics.PipeUtilization,
            export_type=[profiler.ExportType.Text],
        )
        ready = profiler.tensorboard_trace_handler(str(directory))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            started = profiler.profile(activities=activities, on_trace_ready=ready, experimental_config=settings)
        return started, ""
    except Exception as error:
        return None, f"it did not start ({_first_line(error)})"


def _stopped(profiler: Any) -> str:
    """Stops the profiler, which writes its files. Returns what went wrong, or ""."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            profiler.stop()
    except Exception as error:
        return f"it failed while it wrote its files ({_first_line(error)})"
    return ""


def _num_slices(path: Path) -> int:
    try:
        return sum(event.get("ph") == "X" for event in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError):
        return 0


def _note(trace: DeviceTrace, failure: str) -> str:
    if trace.num_operators:
        found = f"{trace.num_operators} slices in {len(trace.traces)} trace file(s) below {trace.directory}"
        return f"MindSpore's profiler: {found}" + (f"; {failure}" if failure else "")
    reason = failure or "the backend gave it nothing"
    return f"MindSpore's profiler recorded no operators: {reason}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
