"""What `batch` was asked to do, with everything checked that can be checked before MindSpore is imported."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ms_omni.cli.answers import AnswerStore
from ms_omni.cli.manifest import Item, check_media, read_manifest
from ms_omni.cli.request import (
    check_pixels,
    check_speaker,
    engine_config,
    known_speakers,
    sampling_params,
)
from ms_omni.config import EngineConfig, SamplingParams
from ms_omni.errors import OmniError

TIME_OUT_S = 3600
# Settings that may change between the runs of one batch: they decide how fast answers come, not which.
_FREE_SETTINGS = {"parallel", "data_parallel", "compile_cache", "with_talker"}


@dataclass(frozen=True)
class BatchJob:
    """One checked run. `kept`: results of an earlier run by id; `todo`: the other items. The same on all ranks, since
    all of them look before the first one can write."""

    engine: EngineConfig
    sampling: SamplingParams
    fps: float | None
    time_out_s: float
    store: AnswerStore
    items: tuple[Item, ...]
    kept: dict[str, dict[str, Any]]
    todo: list[Item]


def check_batch(settings: dict[str, Any], restart: bool) -> BatchJob:
    """`settings` (flag names with underscores, unset ones absent) as a job; the directory `--out` exists afterwards.

    Raises OmniError for every mistake that can be seen without reading weights or decoding media."""
    if "model" not in settings:
        raise OmniError("--model is missing: expected a checkpoint directory (ms-omni tiny DIR writes one to try)")
    for key, wanted in (("manifest", "a file of JSON lines"), ("out", "a directory for the results")):
        if key not in settings:
            raise OmniError(f"--{key} is missing: expected {wanted}")
    sampling = sampling_params(settings)
    check_pixels(settings)
    items = read_manifest(
        Path(settings["manifest"]),
        {
            "use_audio_in_video": settings.get("use_audio_in_video", False),
            "speak": settings.get("speak", False),
            "speaker": settings.get("speaker"),
        },
    )
    engine = engine_config(settings, with_talker=any(item.speak for item in items))
    _check_voices(items, Path(engine.model), settings)
    fps = settings.get("fps")
    store = AnswerStore(Path(settings["out"]), _common_settings(engine, sampling, fps))
    kept = {} if restart else store.kept(items)
    todo = [item for item in items if item.id not in kept]
    check_media(todo)
    store.make()
    return BatchJob(engine, sampling, fps, settings.get("time_out", TIME_OUT_S), store, items, kept, todo)


def _common_settings(engine: EngineConfig, sampling: SamplingParams, fps: float | None) -> dict[str, Any]:
    known = {key: value for key, value in asdict(engine).items() if key not in _FREE_SETTINGS}
    known["model"] = str(Path(engine.model).resolve())
    return {**known, **asdict(sampling), "fps": fps}


def _check_voices(items: tuple[Item, ...], checkpoint: Path, settings: dict[str, Any]) -> None:
    """Speakers that exist, and a Talker where speech is asked for."""
    speakers = known_speakers(checkpoint)
    if speakers is not None and "speaker" in settings:
        check_speaker(settings["speaker"], speakers, "--speaker")
    for item in items:
        if item.speak and speakers is None:
            flag = "--speak" if settings.get("speak") else f"{item.where}: 'speak'"
            raise OmniError(
                f"{flag}: the checkpoint {checkpoint} has no Talker and cannot speak; ask for text alone or use an "
                "Instruct checkpoint"
            )
        if speakers is not None and item.speaker is not None:
            check_speaker(item.speaker, speakers, f"{item.where}: 'speaker'")
