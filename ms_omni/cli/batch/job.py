"""Checks what `batch` is asked to do, as far as that is possible before MindSpore is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms_omni.checkpoint import built_in
from ms_omni.checkpoint.resolve import resolve_checkpoint
from ms_omni.cli.batch.conversations import ConversationLines
from ms_omni.cli.batch.file import missing_media, read_items
from ms_omni.cli.batch.item import Answer, Item
from ms_omni.cli.batch.requests import RequestItem, RequestLines
from ms_omni.cli.batch.store import AnswerStore
from ms_omni.cli.engine_settings import check_pixels, engine_config, media_access, sampling_params
from ms_omni.cli.flags import TASK_KEYS
from ms_omni.cli.resuming import common_settings
from ms_omni.cli.task_flags import TaskFlags
from ms_omni.cli.voices import Voices
from ms_omni.config import EngineConfig
from ms_omni.errors import OmniError
from ms_omni.options import Options
from ms_omni.tasks.variant import variant_of

TIME_OUT_S = 3600


@dataclass(frozen=True)
class BatchJob:
    """One checked run. answered: an earlier run's answers, by id. refused: the answers of items that cannot be asked.
    todo: the other items. All ranks have the same, since each looks before any of them can write. will_fail: a line for
    each item that is refused or whose medium is missing."""

    engine: EngineConfig
    time_out_s: float
    store: AnswerStore
    items: tuple[Item, ...]
    answered: dict[str, Answer]
    refused: dict[str, Answer]
    todo: list[Item]
    will_fail: list[str]


def check_batch(settings: dict[str, Any], restart: bool) -> BatchJob:
    """settings: flag names with underscores; unset ones are absent. The directory `--out` exists afterwards.

    Raises OmniError for every mistake that shows without reading weights or decoding media."""
    settings = {"model": built_in.NAME, **settings}
    for key, wanted in (("manifest", "a file of JSON lines"), ("out", "a directory for the results")):
        if key not in settings:
            raise OmniError(f"--{key} is missing: expected {wanted}")
    defaults: Options = {
        "return_audio": settings.get("speak", False),
        "speaker": settings.get("speaker"),
        "use_audio_in_video": settings.get("use_audio_in_video", False),
        "fps": settings.get("fps"),
        "sampling": sampling_params(settings),
    }
    check_pixels(settings)
    voices = Voices.of(resolve_checkpoint(settings["model"]))
    if "speaker" in settings:
        voices.check_speaker(settings["speaker"], "--speaker")
    items = _read(settings, defaults, voices)
    asked = [item for item in items if item.refusal is None]
    speaks = any(item.speaks for item in asked)
    if speaks:
        voices.check_speech("--speak")
    engine = engine_config(settings, with_talker=speaks)
    store = AnswerStore(Path(settings["out"]), common_settings(engine, defaults))
    answered = {} if restart else store.answered(asked)
    refused = {item.id: item.failure(item.refusal) for item in items if item.refusal is not None}
    todo = [item for item in asked if item.id not in answered]
    will_fail = [f"{item.where}: {refused[item.id].failure}" for item in items if item.id in refused]
    will_fail += missing_media(todo, engine.media_access)
    store.make()
    return BatchJob(engine, settings.get("time_out", TIME_OUT_S), store, items, answered, refused, todo, will_fail)


def _read(settings: dict[str, Any], defaults: Options, voices: Voices) -> tuple[Item, ...]:
    path = Path(settings["manifest"])
    given: Any = {key: settings[key] for key in ("use_audio_in_video", "fps") if key in settings}
    given["sampling"] = defaults["sampling"]
    conversations = ConversationLines(
        defaults=defaults,
        voices=voices,
        flags=TaskFlags.of(settings),
        given=given,
        model=settings["model"],
        variant=variant_of(voices.checkpoint),
        access=media_access(settings),
    )
    names = tuple(settings.get("served_model_name", [settings["model"]]))
    requests = RequestLines(defaults, voices, names, is_inline=settings.get("audio_as") == "inline")
    items = read_items(path, conversations, requests)
    if not isinstance(items[0], RequestItem):
        for key in ("audio_as", "served_model_name"):
            if key in settings:
                raise OmniError(
                    f"--{key.replace('_', '-')}: is for requests of OpenAI's API, and --manifest {path} has none"
                )
    else:
        for key in (*TASK_KEYS, "tools"):
            if key in settings:
                flag = "--" + key.replace("_", "-")
                raise OmniError(f"{flag}: is for conversations, and --manifest {path} has requests of OpenAI's API")
    return items
