"""What `profile` was asked to do, with everything checked that can be checked before MindSpore is imported."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ms_omni.checkpoint import built_in
from ms_omni.checkpoint.compressed import resolve_quantize
from ms_omni.checkpoint.config import read_generation_config
from ms_omni.cli.engine_settings import check_pixels, engine_config, sampling_params
from ms_omni.cli.media_checks import check_local_media
from ms_omni.cli.terminal import print_note
from ms_omni.cli.voices import Voices
from ms_omni.config import ENGINES, PARALLEL_MODES, EngineConfig, SamplingParams
from ms_omni.errors import OmniError, did_you_mean
from ms_omni.files import make_directory
from ms_omni.inputs.conversation import load_conversation
from ms_omni.profiling.task import TaskSettings, fixed_sampling
from ms_omni.profiling.workload import DEFAULT, Recipe, in_batches, read_workload

REPEATS, WARM_UP = 3, 1
TRANSFORMERS = "transformers"
REFERENCE_PYTHON = "MS_OMNI_REFERENCE_PYTHON"
# Equal answers on all sides, so that equal work is compared.
_GREEDY = {"thinker_temperature": 0.0, "talker_temperature": 0.0}


@dataclass(frozen=True)
class ProfileJob:
    """One checked run. sides: name -> how to load it; None for transformers, which `reference_python` runs."""

    model: Path
    sides: dict[str, EngineConfig | None]
    recipes: list[Recipe]
    settings: TaskSettings
    repeats: int
    warm_up: int
    formats: tuple[str, ...]
    figures: tuple[str, ...]
    reference_python: str | None
    out: Path | None
    trace: Path | None


def check_profile(settings: dict[str, Any]) -> ProfileJob:
    """`settings` (flag names with underscores, unset ones absent) as a job; its directories exist afterwards.

    Raises OmniError for every mistake that can be seen without reading weights or decoding media."""
    settings = {"model": built_in.NAME, **_GREEDY, **settings}
    sampling = sampling_params(settings)
    check_pixels(settings)
    if sampling.ignore_eos is False and "ignore_eos" in settings:
        raise OmniError("--no-ignore-eos: a measurement always generates the maximum; leave it away")
    formats = _formats(settings)
    recipes = _recipes(settings)
    engine = engine_config(settings, with_talker=True)
    speech = _speech(settings, recipes, Path(engine.model))
    asked = TaskSettings(
        sampling=fixed_sampling(sampling, read_generation_config(Path(engine.model))),
        speaker=settings.get("speaker"),
        fps=settings.get("fps"),
        speech=speech,
        use_audio_in_video=settings.get("use_audio_in_video"),
        limits={key: settings[key] for key in ("min_pixels", "max_pixels") if key in settings},
    )
    for recipe in recipes:
        if recipe.conversation is not None:
            check_local_media(recipe.conversation, bool(asked.use_audio_in_video), engine.media_access)
    speaks = any(recipe.speech if speech is None else speech for recipe in recipes)
    sides = _sides(settings, replace(engine, with_talker=speaks))
    return ProfileJob(
        model=Path(engine.model),
        sides=sides,
        recipes=recipes,
        settings=asked,
        repeats=settings.get("repeats", REPEATS),
        warm_up=settings.get("warm_up", WARM_UP),
        formats=formats,
        figures=settings.get("figures", ()),
        reference_python=_reference_python(sampling) if None in sides.values() else None,
        out=_directory(settings, "out"),
        trace=_directory(settings, "trace"),
    )


def _recipes(settings: dict[str, Any]) -> list[Recipe]:
    """The workloads' cases, then the user's conversations."""
    named = settings.get("workload", [])
    files = settings.get("conversation", [])
    recipes = [recipe for name in named or ([] if files else [DEFAULT]) for recipe in read_workload(name)]
    for file in files:
        if file == "-":
            raise OmniError("--conversation -: expected a file; what is measured must be there again next time")
        recipes.append(
            Recipe(name=Path(file).stem, origin=f"--conversation {file}", conversation=load_conversation(file))
        )
    recipes = in_batches(recipes, settings["batch"]) if "batch" in settings else recipes
    seen: set[str] = set()
    for recipe in recipes:
        if recipe.name in seen:
            raise OmniError(f"{recipe.origin}: there is a case {recipe.name!r} already; each needs a name of its own")
        seen.add(recipe.name)
    return recipes


def _speech(settings: dict[str, Any], recipes: list[Recipe], checkpoint: Path) -> bool | None:
    """Whether all cases are spoken (None: as each workload says). Without a Talker none is."""
    voices, asked = Voices.of(checkpoint), settings.get("speak")
    if asked:
        voices.check_speech("--speak")
    if not voices.can_speak:
        if any(recipe.speech for recipe in recipes) and asked is None:
            print_note(f"the checkpoint {checkpoint} has no Talker: text alone is measured")
        return False
    if "speaker" in settings:
        voices.check_speaker(settings["speaker"], "--speaker")
    return asked


def _sides(settings: dict[str, Any], engine: EngineConfig) -> dict[str, EngineConfig | None]:
    if "compare" not in settings:
        return {engine.engine: engine}
    if "engine" in settings:
        raise OmniError(f"--engine {settings['engine']} and --compare exclude each other: name the engine in --compare")
    return {name: _side(name, engine) for name in settings["compare"]}


def _side(name: str, engine: EngineConfig) -> EngineConfig | None:
    """`engine` or `engine:parallel`."""
    if name == TRANSFORMERS:
        if engine.quantize not in ("auto", "none"):
            raise OmniError(f"--compare transformers: has no --quantize {engine.quantize}; leave one of them away")
        return None
    kind, _, parallel = name.partition(":")
    known = [*(one for one in ENGINES if one != "auto"), TRANSFORMERS]
    if kind == TRANSFORMERS:
        raise OmniError(f"--compare {name}: transformers runs in one process, without any --parallel")
    if kind not in known:
        raise OmniError(f"--compare {name}: unknown side{did_you_mean(kind, known)}; expected {', '.join(known)}")
    if parallel and parallel not in PARALLEL_MODES:
        guess = did_you_mean(parallel, PARALLEL_MODES)
        raise OmniError(f"--compare {name}: {parallel!r} is not allowed{guess}; expected {', '.join(PARALLEL_MODES)}")
    if kind == "mindone":
        engine = replace(engine, compile_cache=None, max_num_seqs=None, launch_capture="none")
    resolve_quantize(engine.quantize, kind, engine.model)
    return replace(engine, engine=kind, parallel=parallel or engine.parallel)


def _reference_python(sampling: SamplingParams) -> str:
    """The Python that runs transformers."""
    from ms_omni.parallel.world import is_under_msrun

    if is_under_msrun():
        raise OmniError("--compare transformers: runs in one process; leave it away on several cards")
    if sampling.thinker_temperature or sampling.talker_temperature:
        raise OmniError("--compare transformers: other random numbers give other answers; leave the temperatures at 0")
    python = os.environ.get(REFERENCE_PYTHON)
    if python is None:
        raise OmniError(
            f"--compare transformers: set {REFERENCE_PYTHON} to a Python with torch and transformers "
            "(tests/live/requirements.txt)"
        )
    if shutil.which(python) is None:
        raise OmniError(f"{REFERENCE_PYTHON}={python}: no such program")
    return python


def _formats(settings: dict[str, Any]) -> tuple[str, ...]:
    """One goes to stdout, several into files."""
    formats = settings.get("format", ("table",))
    if "out" not in settings and len(formats) > 1:
        raise OmniError(f"--format {','.join(formats)}: stdout takes one format; give --out DIR for several")
    return formats


def _directory(settings: dict[str, Any], key: str) -> Path | None:
    if key not in settings:
        return None
    path = Path(settings[key])
    make_directory(path, f"--{key}")
    return path
