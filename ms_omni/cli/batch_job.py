"""What `batch` was asked to do, with everything checked that can be checked before MindSpore is imported."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ms_omni.checkpoint import built_in
from ms_omni.checkpoint.resolve import resolve_checkpoint
from ms_omni.cli.answers import AnswerStore
from ms_omni.cli.batch_file import missing_media, read_items
from ms_omni.cli.chat_lines import ChatItem, ChatLines
from ms_omni.cli.item import Answer, Item
from ms_omni.cli.manifest import Manifest
from ms_omni.cli.request import check_pixels, engine_config, sampling_params
from ms_omni.cli.settings import media_access
from ms_omni.cli.task_flags import TASK_KEYS, TaskFlags
from ms_omni.cli.task_lines import TaskLines
from ms_omni.cli.voices import Voices
from ms_omni.config import EngineConfig
from ms_omni.errors import OmniError
from ms_omni.options import Options
from ms_omni.tasks.variant import variant_of

TIME_OUT_S = 3600
# Settings that may change between the runs of one batch: they decide how fast answers come, and which media are
# refused, not what an answer says.
_FREE_SETTINGS = {
    "parallel",
    "compile_cache",
    "max_num_seqs",
    "max_model_len",
    "warm_up",
    "launch_capture",
    "with_talker",
    "media_access",
}


@dataclass(frozen=True)
class BatchJob:
    """One checked run. `kept`: answers of an earlier run by id; `refused`: those of items that cannot be asked; `todo`:
    the other items. The same on all ranks, since all of them look before the first one can write. `will_fail`: a line
    for each item that is refused, or will fail for a medium that is missing."""

    engine: EngineConfig
    time_out_s: float
    store: AnswerStore
    items: tuple[Item, ...]
    kept: dict[str, Answer]
    refused: dict[str, Answer]
    todo: list[Item]
    will_fail: list[str]


def check_batch(settings: dict[str, Any], restart: bool) -> BatchJob:
    """`settings` (flag names with underscores, unset ones absent) as a job; the directory `--out` exists afterwards.

    Raises OmniError for every mistake that can be seen without reading weights or decoding media."""
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
    kept = {} if restart else store.kept(asked)
    refused = {item.id: item.failure(item.refusal) for item in items if item.refusal is not None}
    todo = [item for item in asked if item.id not in kept]
    will_fail = [f"{item.where}: {refused[item.id].failure}" for item in items if item.id in refused]
    will_fail += missing_media(todo, engine.media_access)
    store.make()
    return BatchJob(engine, settings.get("time_out", TIME_OUT_S), store, items, kept, refused, todo, will_fail)


def _read(settings: dict[str, Any], defaults: Options, voices: Voices) -> tuple[Item, ...]:
    path = Path(settings["manifest"])
    given: Any = {key: settings[key] for key in ("use_audio_in_video", "fps") if key in settings}
    given["sampling"] = defaults["sampling"]
    tasks = TaskLines(
        TaskFlags.of(settings), given, settings["model"], variant_of(voices.checkpoint), media_access(settings)
    )
    names = tuple(settings.get("served_model_name", [settings["model"]]))
    requests = ChatLines(defaults, voices, names, is_inline=settings.get("audio_as") == "inline")
    items = read_items(path, Manifest(defaults, voices, tasks), requests)
    if not isinstance(items[0], ChatItem):
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


def common_settings(engine: EngineConfig, defaults: Options) -> dict[str, Any]:
    """What answers must have in common to be put together."""
    known = {key: value for key, value in asdict(engine).items() if key not in _FREE_SETTINGS}
    known["model"] = str(Path(engine.model).resolve())
    sampling = defaults.get("sampling")
    assert sampling is not None
    return {**known, **asdict(sampling), "fps": defaults.get("fps")}
