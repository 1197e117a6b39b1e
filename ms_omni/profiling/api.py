"""`profile` for Python: engines that are loaded answer workloads in turns; returns the document that reports show."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone

from ms_omni.config import SamplingParams
from ms_omni.engine import OmniEngine
from ms_omni.errors import OmniError
from ms_omni.profiling import environment
from ms_omni.profiling.document import Case, Profile, Skipped, Workload
from ms_omni.profiling.measure import Measurement
from ms_omni.profiling.sides import EngineSide
from ms_omni.profiling.synthetic_media import MediaMaker
from ms_omni.profiling.task import Task, TaskSettings, make_task
from ms_omni.profiling.workload import read_workload
from ms_omni.scheduling.request import Progress

GREEDY = SamplingParams(thinker_temperature=0.0, talker_temperature=0.0)


def profile(
    engines: OmniEngine | Mapping[str, OmniEngine],
    workloads: Sequence[str] = ("text",),
    *,
    sampling: SamplingParams = GREEDY,
    speech: bool | None = None,
    repeats: int = 3,
    warm_up: int = 1,
    progress: Progress | None = None,
) -> Profile:
    """Measures one engine, or several of one checkpoint against each other, in this process.

    workloads: names of configs/workloads, or YAML files. sampling: lengths that it leaves open are each workload's;
    always to the maximum. speech: whether answers are spoken, whatever the workloads say. progress: called with (case
    and engine, answers done, answers in all). An interrupt (KeyboardInterrupt) gives what was finished, with complete
    False, and raises where that is nothing. Under msrun every rank calls this, and all have the same result.
    Raises OmniError for a workload that is not known, and when nothing could be measured."""
    named = engines if isinstance(engines, Mapping) else {"engine": engines}
    sides = [EngineSide.of(name, engine) for name, engine in named.items()]
    engine = sides[0].engine
    settings = _settings(sampling, speech if engine.has_talker else False, engine)
    cases: list[Case] = []
    skipped: list[Skipped] = []
    complete = True
    with tempfile.TemporaryDirectory(prefix="ms-omni-") as directory:
        media, tokenizer = MediaMaker(directory), engine.processor.tokenizer
        for recipe in [recipe for name in workloads for recipe in read_workload(name)]:
            task = make_task(recipe, settings, media, lambda text: len(tokenizer.encode(text)))
            measurement = Measurement(sides, task, repeats, warm_up, progress=_of_case(task, progress))
            try:
                measurement.run()
            except KeyboardInterrupt:
                complete = False
            cases += [case_of(task, measurement)] if measurement.runs else []
            for side, reason in measurement.skipped.items():
                skipped.append(Skipped(workload=task.name, side=side if len(sides) > 1 else None, reason=reason))
            if not complete:
                break
    if not cases:
        raise OmniError(skipped[0].reason) if complete else KeyboardInterrupt
    return _document(engine, settings, (repeats, warm_up), cases, skipped, complete)


def case_of(task: Task, measurement: Measurement) -> Case:
    """What is measured so far, at least one repeat."""
    prompt, sampling = measurement.prompt, task.sampling
    media = {name: prompt.get(f"{name}_tokens", 0) for name in ("image", "audio", "video")}
    workload = Workload(
        name=task.name,
        digest=task.digest,
        prompt_tokens=prompt["prompt_tokens"],
        text_tokens=prompt["prompt_tokens"] - sum(media.values()),
        image_tokens=media["image"],
        audio_tokens=media["audio"],
        video_tokens=media["video"],
        thinker_max_new_tokens=sampling.thinker_max_new_tokens or 0,
        talker_max_new_tokens=(sampling.talker_max_new_tokens or 0) if task.speech else 0,
        speech=task.speech,
        media=list(task.media),
    )
    return Case(workload=workload, runs=measurement.runs, ratios=measurement.ratios)


def _settings(sampling: SamplingParams, speech: bool | None, engine: OmniEngine) -> TaskSettings:
    """The sampling as it will be used, except for lengths that are left to the workloads."""
    lengths = {name: getattr(sampling, name) for name in ("thinker_max_new_tokens", "talker_max_new_tokens")}
    whole = replace(sampling.resolved(engine.generation_config), ignore_eos=True, **lengths)
    limits = {name: getattr(engine.settings, name) for name in ("min_pixels", "max_pixels")}
    return TaskSettings(whole, speech=speech, limits={name: value for name, value in limits.items() if value})


def _of_case(task: Task, progress: Progress | None) -> Progress | None:
    if progress is None:
        return None
    return lambda side, done, total: progress(f"{task.name}: {side}", done, total)


def _document(
    engine: OmniEngine,
    settings: TaskSettings,
    numbers: tuple[int, int],
    cases: list[Case],
    skipped: list[Skipped],
    complete: bool,
) -> Profile:
    model = environment.model(engine.directory)
    device = environment.device_name(engine.device)
    sampling = {name: value for name, value in asdict(settings.sampling).items() if "max_new_tokens" not in name}
    return Profile(
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=list(sys.argv),
        commit=environment.commit(),
        versions=environment.versions(),
        machine=environment.machine(device, engine.world.world_size),
        model=model,
        sampling=sampling,
        repeats=numbers[0],
        warm_up=numbers[1],
        complete=complete,
        caveats=environment.caveats(device, model) + ([] if complete else ["interrupted"]),
        cases=cases,
        skipped=skipped,
    )
