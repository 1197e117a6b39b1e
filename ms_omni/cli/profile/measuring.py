"""Runs what `profile` was asked to: loads the sides, measures, and keeps what is finished in --out and --trace."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from ms_omni.cli.profile.job import ProfileJob
from ms_omni.cli.progress import make_progress
from ms_omni.cli.terminal import print_note
from ms_omni.files import write_text
from ms_omni.hardware.cards import card_power
from ms_omni.hardware.machine import Machine
from ms_omni.parallel.world import GROUP_SIZE_VARIABLE, is_under_msrun
from ms_omni.profiling.document import Profile
from ms_omni.profiling.energy import EnergyMeter
from ms_omni.profiling.run import ProfileRun
from ms_omni.profiling.sides import EngineSide, Side
from ms_omni.profiling.task import Task
from ms_omni.profiling.transformers_side import TransformersSide


def measure_all(job: ProfileJob) -> tuple[Profile, KeyboardInterrupt | None] | None:
    """The profile, and what interrupted it; None in a process that is not the one of its job that reports.

    Raises OmniError when nothing could be measured, KeyboardInterrupt when nothing was finished."""
    sides = _load(job)
    is_writer = sides[0].rank_group.rank == 0
    shown = make_progress()

    def progress(*event: Any) -> None:
        shown(*event)

    def keep(profile: Profile) -> None:
        if job.out is not None:
            write_text(job.out / "profile.json", profile.model_dump_json(indent=1) + "\n")

    def case_done(task: Task, skipped: dict[str, str]) -> None:
        nonlocal shown
        shown.close()
        shown = make_progress()
        if job.trace is not None:
            for side in sides:
                if isinstance(side, EngineSide) and side.name not in skipped:
                    _record_device(job.trace, side, task)

    try:
        profile, interrupt = ProfileRun(
            sides,
            job.model,
            job.recipes,
            job.settings,
            job.repeats,
            job.warm_up,
            _command(),
            _card_versions(sides),
            meter=_energy_meter(sides),
            progress=progress,
            on_repeat=keep if is_writer else None,
            on_case=case_done,
        ).measure()
    finally:
        shown.close()
        for side in sides:
            if isinstance(side, TransformersSide):
                side.close()
    if not is_writer:
        return None
    keep(profile)
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


def _energy_meter(sides: list[Side]) -> EnergyMeter | None:
    """Of the cards of this machine, read by rank 0; None on a CPU."""
    on_cards = [side for side in sides if side.about.device != "CPU"]
    if not on_cards or sides[0].rank_group.rank:
        return None
    return EnergyMeter(lambda: card_power(Machine(), on_cards[0].about.cards))


def _card_versions(sides: list[Side]) -> dict[str, str]:
    """Of driver and CANN, where a side runs on a card."""
    if all(side.about.device == "CPU" for side in sides):
        return {}
    machine = Machine()
    known = {"driver": machine.driver_version(), "cann": machine.cann_version("toolkit")}
    return {name: version for name, version in known.items() if version}


def _command() -> list[str]:
    """What the user typed, as far as this process can tell."""
    words = sys.argv[sys.argv.index("profile") :] if "profile" in sys.argv else []
    if not is_under_msrun():
        return ["ms-omni", *words]
    launch = ["launch", "--cards", os.environ.get("MS_WORKER_NUM", "?")]
    if GROUP_SIZE_VARIABLE in os.environ:
        launch += ["--group-size", os.environ[GROUP_SIZE_VARIABLE]]
    return ["ms-omni", *launch, "--", *words]
