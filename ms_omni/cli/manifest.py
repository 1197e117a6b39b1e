"""The form of `batch`'s own files: a conversation a line, answered by the document of `understand --json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Semaphore
from typing import TYPE_CHECKING, Any

from ms_omni.answer_parts import opens_reasoning
from ms_omni.cli.answer_document import answer_document
from ms_omni.cli.item import MAX_NAME_BYTES, Answer, Item, one_line
from ms_omni.cli.recording_checks import audio_of, goes_by_windows
from ms_omni.cli.task_flags import TASK_KEYS
from ms_omni.cli.task_lines import TaskLines
from ms_omni.cli.voices import Voices
from ms_omni.cli.wave import write_wave
from ms_omni.errors import OmniError, did_you_mean
from ms_omni.inputs.access import MediaAccess
from ms_omni.inputs.conversation import build_conversation, validate_conversation
from ms_omni.options import Options
from ms_omni.recordings.recording import Recording
from ms_omni.recordings.transcribe import submit_recording
from ms_omni.scheduling.request import RequestHandle
from ms_omni.tasks.task import Task

if TYPE_CHECKING:
    from ms_omni.engine import OmniEngine
    from ms_omni.outputs import OmniOutput

MEDIA_KEYS = ("image", "audio", "video")
TURN_KEYS = ("system", "text", *MEDIA_KEYS)
OPTION_KEYS = ("use_audio_in_video", "speak", "speaker")
KEYS = ("id", "conversation", *TURN_KEYS, *TASK_KEYS, "tools", *OPTION_KEYS)


@dataclass(frozen=True, kw_only=True)
class ManifestItem(Item):
    """A conversation and how to answer it. access: whose media may be read."""

    task: Task | None = None
    access: MediaAccess = MediaAccess()

    def ask(self, engine: OmniEngine, options: Options, turns: Semaphore) -> RequestHandle:
        if goes_by_windows(self.task, self.conversation, self.speaks, self.access):
            recording = Recording(audio_of(self.conversation), self.access)
            return submit_recording(engine, recording, self.conversation, options, turns)
        return super().ask(engine, options, turns)

    def answer(self, output: OmniOutput, engine: OmniEngine, directory: Path) -> Answer:
        path = None
        if output.audio is not None:
            path = directory / self.wave
            write_wave(path, output.audio, "--out")
        wave, reasons = None if path is None else str(path), opens_reasoning(engine.processor)
        tools = self.options.get("tools")
        document = answer_document(output, wave, reasons, self.task, tools, self.conversation, self.access)
        line = {"id": self.id, **document}
        return Answer(line, output.usage.completion_tokens, wave=None if path is None else path.name)

    def _digested(self) -> dict[str, Any]:
        more: dict[str, Any] = {"tools": self.options["tools"]} if self.options.get("tools") else {}
        if self.task is not None:
            sampling = self.options["sampling"]
            more |= {"task": self.task.name, "fps": self.options.get("fps"), "sampling": sampling and asdict(sampling)}
        return {**super()._digested(), **more}

    def failure(self, error: Exception) -> Answer:
        return Answer({"id": self.id, "error": one_line(error)}, failure=one_line(error))


@dataclass(frozen=True)
class Manifest:
    """defaults: options, of which a line may set those of OPTION_KEYS itself. tasks: of the lines that name one. A line
    without id gets its number, in six digits."""

    defaults: Options
    voices: Voices
    tasks: TaskLines = TaskLines()

    def item(self, data: dict[str, Any], number: int, where: str) -> ManifestItem:
        for key in data:
            if key not in KEYS:
                raise OmniError(f"{where}: unknown key {key!r}{did_you_mean(key, KEYS)}; allowed: {', '.join(KEYS)}")
        for key, kind, wanted in (("use_audio_in_video", bool, "true or false"), ("speak", bool, "true or false"),
                                  ("speaker", str, "a name"), ("system", str, "a text"),
                                  ("text", str, "a text")):  # fmt: skip
            if key in data and not isinstance(data[key], kind):
                raise OmniError(f"{where}: {key!r} is {json.dumps(data[key])}; expected {wanted}")
        if data.get("speak") and not self.defaults.get("return_audio"):  # else --speak is to blame
            self.voices.check_speech(f"{where}: 'speak'")
        if "speaker" in data:
            self.voices.check_speaker(data["speaker"], f"{where}: 'speaker'")
        names = {"speak": "return_audio", "speaker": "speaker", "use_audio_in_video": "use_audio_in_video"}
        said: Any = {names[key]: data[key] for key in OPTION_KEYS if key in data}
        media = {key: _names(data.get(key, []), key, where) for key in MEDIA_KEYS}
        item_id, task = _id(data, number, where), self.tasks.of(data, where)
        options: Any
        if task is not None:
            speaks = said.get("return_audio", self.defaults.get("return_audio"))
            question = self.tasks.question(task, data, media, said, bool(speaks), where)
            conversation, options = question.conversation, {**self.defaults, **said, **question.options}
        else:
            conversation = _conversation(data, media, where)
            options = {**self.defaults, **said, **self.tasks.functions(None, data, where)}
        self.tasks.check_variant(conversation, where)
        access = self.tasks.access
        return ManifestItem(
            id=item_id, where=where, conversation=conversation, options=options, task=task, access=access
        )


def _id(data: dict[str, Any], number: int, where: str) -> str:
    """It becomes the name of files."""
    name = data.get("id", f"{number:06d}")
    wanted = f"expected a text of at most {MAX_NAME_BYTES} bytes that can be a file name: no slash, no dot at its start"
    if not isinstance(name, str) or not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise OmniError(f"{where}: 'id' is {json.dumps(name)}; {wanted}")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise OmniError(f"{where}: 'id' has {len(name.encode())} bytes; {wanted}")
    return name


def _conversation(data: dict[str, Any], media: dict[str, list[str]], where: str) -> list[dict[str, Any]]:
    turn = [key for key in TURN_KEYS if key in data]
    if "conversation" in data:
        if turn:
            raise OmniError(f"{where}: 'conversation' and {turn[0]!r} exclude each other")
        return validate_conversation(data["conversation"], where)
    if not any(key != "system" for key in turn):
        raise OmniError(f"{where}: nothing to answer; expected 'conversation', or 'text', 'image', 'audio' or 'video'")
    if not any(media.values()) and "text" not in data:
        raise OmniError(f"{where}: nothing to answer; {turn[-1]!r} is an empty list")
    return build_conversation(data.get("system"), data.get("text"), *media.values())


def _names(value: Any, key: str, where: str) -> list[str]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name for name in names):
        hint = "; whether to answer in speech is 'speak'" if isinstance(value, bool) else ""
        raise OmniError(f"{where}: {key!r} is {json.dumps(value)}; expected a path or URL, or a list of them{hint}")
    return names
