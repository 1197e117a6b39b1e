"""`profile` for Python: measures engines that are loaded; returns the document that reports show."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from ms_omni.config import SamplingParams
from ms_omni.engine import OmniEngine
from ms_omni.profiling.document import Profile
from ms_omni.profiling.run import ProfileRun
from ms_omni.profiling.sides import EngineSide
from ms_omni.profiling.task import TaskSettings, fixed_sampling
from ms_omni.profiling.workload import in_batches, read_workload
from ms_omni.scheduling.request import Progress

_GREEDY = SamplingParams(thinker_temperature=0.0, talker_temperature=0.0)


def profile(
    engines: OmniEngine | Mapping[str, OmniEngine],
    workloads: Sequence[str] = ("text",),
    *,
    batches: Sequence[int] | None = None,
    sampling: SamplingParams = _GREEDY,
    speech: bool | None = None,
    repeats: int = 3,
    warm_up: int = 1,
    progress: Progress | None = None,
) -> Profile:
    """Measures one engine, or several of one checkpoint against each other, in this process.

    workloads: names of configs/workloads, or YAML files. batches: how many conversations are asked at once, a case for
    each number; None: as the workloads say, one by default. sampling: lengths that it leaves open are each workload's;
    answers always have the maximum length. speech: whether answers are spoken, whatever the workloads say. progress:
    called with (case and engine, answers done, answers in all). An interrupt (KeyboardInterrupt) returns what is
    finished, with complete False, and is raised where nothing is. Under msrun every rank calls this, and all get the
    same result. Raises OmniError for an unknown workload, and when nothing could be measured."""
    named = engines if isinstance(engines, Mapping) else {"engine": engines}
    recipes = [recipe for name in workloads for recipe in read_workload(name)]
    sides = [EngineSide.of(name, engine) for name, engine in named.items()]
    engine = sides[0].engine
    limits = {name: getattr(engine.settings, name) for name in ("min_pixels", "max_pixels")}
    settings = TaskSettings(
        fixed_sampling(sampling, engine.generation_config),
        speech=speech if engine.has_talker else False,
        limits={name: value for name, value in limits.items() if value},
    )
    recipes = recipes if batches is None else in_batches(recipes, batches)
    run = ProfileRun(
        sides, engine.directory, recipes, settings, repeats, warm_up, list(sys.argv), versions={}, progress=progress
    )
    return run.measure()[0]
