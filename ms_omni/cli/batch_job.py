"""What `batch` was asked to do, with everything checked that can be checked before MindSpore is imported."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ms_omni.checkpoint import built_in
from ms_omni.checkpoint.resolve import resolve_checkpoint
from ms_omni.cli.answers import AnswerStore
from ms_omni.cli.manifest import Item, missing_media, read_manifest
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
# Settings that may change between the runs of one batch: they decide how fast answers come, and which media are
# refused, not what an answer says.
_FREE_SETTINGS = {
    "parallel",
    "compile_cache",
    "max_num_seqs",
    "warm_up",
    "launch_capture",
    "with_talker",
    "media_access",
}


@dataclass(frozen=True)
class BatchJob:
    """One checked run. `kept`: results of an earlier run by id; `todo`: the other items. The same on all ranks, since
    all of them look before the first one can write. `missing_media`: of `todo`, a line for each that will fail."""

    engine: EngineConfig
    sampling: SamplingParams
    fps: float | None
    time_out_s: float
    store: AnswerStore
    items: tuple[Item, ...]
    kept: dict[str, dict[str, Any]]
    todo: list[Item]
    missing_media: list[str]


def check_batch(settings: dict[str, Any], restart: bool) -> BatchJob:
    """`settings` (flag names with underscores, unset ones absent) as a job; the directory `--out` exists afterwards.

    Raises OmniError for every mistake that can be seen without reading weights or decoding media."""
    settings = {"model": built_in.NAME, **settings}
    for key, wanted in (("manifest", "a file of JSON lines"), ("out", "a directory for the results")):
        if key not in settings:
            raise OmniError(f"--{key} is missing: expected {wanted}")
    sampling = sampling_params(settings)
    check_pixels(settings)
    checkpoint = resolve_checkpoint(settings["model"])
    speakers = known_speakers(checkpoint)
    if speakers is not None and "speaker" in settings:
        check_speaker(settings["speaker"], speakers, "--speaker")
    items = read_manifest(
        Path(settings["manifest"]),
        {
            "use_audio_in_video": settings.get("use_audio_in_video", False),
            "speak": settings.get("speak", False),
            "speaker": settings.get("speaker"),
        },
        lambda item: _check_voice(item, checkpoint, speakers, settings.get("speak", False)),
    )
    if speakers is None and any(item.speak for item in items):
        raise _cannot_speak("--speak", checkpoint)
    engine = engine_config(settings, with_talker=any(item.speak for item in items))
    fps = settings.get("fps")
    store = AnswerStore(Path(settings["out"]), _common_settings(engine, sampling, fps))
    kept = {} if restart else store.kept(items)
    todo = [item for item in items if item.id not in kept]
    missing = missing_media(todo, engine.media_access)
    store.make()
    return BatchJob(engine, sampling, fps, settings.get("time_out", TIME_OUT_S), store, items, kept, todo, missing)


def _common_settings(engine: EngineConfig, sampling: SamplingParams, fps: float | None) -> dict[str, Any]:
    known = {key: value for key, value in asdict(engine).items() if key not in _FREE_SETTINGS}
    known["model"] = str(Path(engine.model).resolve())
    return {**known, **asdict(sampling), "fps": fps}


def _check_voice(item: Item, checkpoint: Path, speakers: list[str] | None, all_speak: bool) -> None:
    """A speaker that exists, and a Talker where the line itself asks for speech; all_speak: `--speak` does."""
    if item.speak and speakers is None and not all_speak:
        raise _cannot_speak(f"{item.where}: 'speak'", checkpoint)
    if speakers is not None and item.speaker is not None:
        check_speaker(item.speaker, speakers, f"{item.where}: 'speaker'")


def _cannot_speak(what: str, checkpoint: Path) -> OmniError:
    return OmniError(
        f"{what}: the checkpoint {checkpoint} has no Talker and cannot speak; ask for text alone or use an "
        "Instruct checkpoint"
    )
