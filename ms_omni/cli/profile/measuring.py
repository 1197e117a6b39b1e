"""Runs what `profile` was asked to: loads the sides, measures every case, keeps what is finished."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ms_omni.cli.profile.job import ProfileJob
from ms_omni.cli.profile.record import Record
from ms_omni.cli.progress import make_progress
from ms_omni.cli.terminal import print_note
from ms_omni.errors import OmniError
from ms_omni.files import write_text
from ms_omni.hardware.cards import card_power
from ms_omni.hardware.machine import Machine
from ms_omni.parallel.world import GROUP_SIZE_VARIABLE, is_under_msrun
from ms_omni.profiling import environment
from ms_omni.profiling.api import case_of
from ms_omni.profiling.document import Profile
from ms_omni.profiling.energy import EnergyMeter
from ms_omni.profiling.measure import Measurement
from ms_omni.profiling.sides import EngineSide, Side
from ms_omni.profiling.synthetic_media import MediaMaker
from ms_omni.profiling.task import Task, make_task
from ms_omni.profiling.transformers_side import TransformersSide


def measure_all(job: ProfileJob) -> tuple[Profile, KeyboardInterrupt | None] | None:
    """The profile, and what interrupted it; None in a process that is not the one of its job that reports.

    Raises OmniError when nothing could be measured, KeyboardInterrupt when nothing was finished."""
    sides = _load(job)
    is_writer = sides[0].rank_group.rank == 0
    record = Record(_header(job, sides), job.out if is_writer else None)
    interrupt = None
    try:
        _measure(job, sides, record)
    except KeyboardInterrupt as error:
        interrupt = error
    finally:
        for side in sides:
            if isinstance(side, TransformersSide):
                side.close()
    if record.is_empty:
        raise interrupt or OmniError(record.reasons[0])
    if not is_writer:
        return None
    profile = record.finish(complete=interrupt is None)
    if job.trace is not None:
        _write_stages(job.trace, profile)
    return profile, interrupt


def _load(job: ProfileJob) -> list[Side]:
    progress = make_progress()
    progress("load", 0, 0)  # importing MindSpore and mindone alone takes seconds
    sides: list[Side] = []
    try:
        for name, config in job.sides.items():
            if config is None:
                sides.append(TransformersSide(name, job.reference_python or "", job.model, job.settings.limits))
                continue
            side = EngineSide(name, config, progress=progress)
            if name == "auto":
                side.name = side.about.engine
            sides.append(side)
        return sides
    finally:
        progress.close()


def _measure(job: ProfileJob, sides: list[Side], record: Record) -> None:
    meter = _energy_meter(sides)
    count = _token_counter(job)
    with tempfile.TemporaryDirectory(prefix="ms-omni-") as directory:
        media = MediaMaker(directory)
        for recipe in job.recipes:
            task = make_task(recipe, job.settings, media, count)
            _measure_task(job, sides, task, meter, record)


def _measure_task(job: ProfileJob, sides: list[Side], task: Task, meter: EnergyMeter | None, record: Record) -> None:
    progress = make_progress()
    measurement = Measurement(
        sides,
        task,
        job.repeats,
        job.warm_up,
        on_repeat=lambda side, repeat: record.keep(case_of(task, measurement)),
        progress=lambda side, done, total: progress(f"{task.name}: {side}", done, total),
        meter=meter,
    )
    try:
        measurement.run()
    finally:
        progress.close()
    everybody = len(measurement.skipped) == len(sides)
    for name, reason in measurement.skipped.items():
        record.skip(task.name, None if everybody else name, reason)
    if job.trace is not None:
        for side in sides:
            if isinstance(side, EngineSide) and side.name not in measurement.skipped:
                _record_device(job.trace, side, task)


def _record_device(directory: Path, side: EngineSide, task: Task) -> None:
    """One more answer, recorded by MindSpore's profiler; every rank into a directory of its own."""
    from ms_omni.profiling.trace import device_trace

    name = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{task.name}_{side.name}").strip("_")
    with device_trace(directory / name / f"rank_{side.rank_group.rank}") as trace:
        side.answer(task)
    if side.rank_group.rank == 0:
        print_note(f"{task.name}: {side.name}: {trace.note}")


def _write_stages(directory: Path, profile: Profile) -> None:
    from ms_omni.profiling.trace import chrome_trace

    path = directory / "stages.json"
    write_text(path, json.dumps(chrome_trace(profile)) + "\n", "--trace")
    print_note(f"wrote {path}, for ui.perfetto.dev")


def _token_counter(job: ProfileJob) -> Callable[[str], int]:
    from transformers import Qwen2TokenizerFast

    tokenizer = Qwen2TokenizerFast.from_pretrained(str(job.model), local_files_only=True)
    return lambda text: len(tokenizer.encode(text))


def _energy_meter(sides: list[Side]) -> EnergyMeter | None:
    """Of the cards of this machine, read by rank 0; None on a CPU."""
    ours = [side for side in sides if isinstance(side, EngineSide)]
    if not ours or ours[0].engine.device == "CPU" or sides[0].rank_group.rank:
        return None
    return EnergyMeter(lambda: card_power(Machine(), ours[0].about.cards))


def _header(job: ProfileJob, sides: list[Side]) -> Profile:
    """All that does not depend on what is measured."""
    device = next((side.engine.device for side in sides if isinstance(side, EngineSide)), "CPU")
    versions = environment.versions()
    for side in sides:
        versions |= side.versions if isinstance(side, TransformersSide) else {}
    device = environment.device_name(device)
    if device != "CPU":
        machine = Machine()
        known = {"driver": machine.driver_version(), "cann": machine.cann_version("toolkit")}
        versions |= {name: version for name, version in known.items() if version}
    model = environment.model(job.model)
    return Profile(
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=_command(),
        commit=environment.commit(),
        versions=versions,
        machine=environment.machine(device, max(side.about.cards for side in sides)),
        model=model,
        sampling=_sampling(job),
        repeats=job.repeats,
        warm_up=job.warm_up,
        complete=False,
        caveats=environment.caveats(device, model),
        cases=[],
    )


def _sampling(job: ProfileJob) -> dict[str, Any]:
    """As it is used; lengths are each workload's own."""
    return {key: value for key, value in asdict(job.settings.sampling).items() if "max_new_tokens" not in key}


def _command() -> list[str]:
    """What the user typed, as far as this process can tell."""
    words = sys.argv[sys.argv.index("profile") :] if "profile" in sys.argv else []
    if not is_under_msrun():
        return ["ms-omni", *words]
    launch = ["launch", "--cards", os.environ.get("MS_WORKER_NUM", "?")]
    if GROUP_SIZE_VARIABLE in os.environ:
        launch += ["--group-size", os.environ[GROUP_SIZE_VARIABLE]]
    return ["ms-omni", *launch, "--", *words]
