"""The format of `batch`'s own files: a conversation a line, answered by the document of `understand --json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Semaphore
from typing import TYPE_CHECKING, Any

from ms_omni.answer_parts import opens_reasoning
from ms_omni.cli.batch.item import MAX_NAME_BYTES, Answer, Item, one_line
from ms_omni.cli.flags import MEDIA_KEYS, TASK_KEYS, TURN_KEYS
from ms_omni.cli.media_checks import audio_of, goes_by_windows
from ms_omni.cli.output import answer_document, write_wave
from ms_omni.cli.task_flags import TaskFlags
from ms_omni.cli.voices import Voices
from ms_omni.errors import OmniError, did_you_mean
from ms_omni.inputs.access import MediaAccess
from ms_omni.inputs.conversation import build_conversation, validate_conversation
from ms_omni.options import Options
from ms_omni.recordings.recording import Recording
from ms_omni.recordings.transcribe import submit_recording
from ms_omni.scheduling.request import RequestHandle
from ms_omni.tasks.functions import check_schemas
from ms_omni.tasks.languages import check_spoken
from ms_omni.tasks.request import TaskRequest, check_functions, task_conversation, task_options
from ms_omni.tasks.table import get_task
from ms_omni.tasks.task import Task
from ms_omni.tasks.variant import Variant, check_captioner, check_task

if TYPE_CHECKING:
    from ms_omni.engine import OmniEngine
    from ms_omni.outputs import OmniOutput

# What a line may set itself -> the option of the engine, its type and what an error expects
_OPTIONS = {
    "use_audio_in_video": ("use_audio_in_video", bool, "true or false"),
    "speak": ("return_audio", bool, "true or false"),
    "speaker": ("speaker", str, "a name"),
}
KEYS = ("id", "conversation", *TURN_KEYS, *TASK_KEYS, "tools", *_OPTIONS)


@dataclass(frozen=True, kw_only=True)
class ConversationItem(Item):
    """A conversation and how to answer it. access: whose media may be read."""

    task: Task | None = None
    access: MediaAccess = field(default_factory=MediaAccess)

    def submit(self, engine: OmniEngine, options: Options, slots: Semaphore) -> RequestHandle:
        """A long recording is asked window by window."""
        if goes_by_windows(self.task, self.conversation, self.speaks, self.access):
            recording = Recording(audio_of(self.conversation), self.access)
            return submit_recording(engine, recording, self.conversation, options, slots)
        return super().submit(engine, options, slots)

    def answer(self, output: OmniOutput, engine: OmniEngine, directory: Path) -> Answer:
        """The document of `understand --json` under the line's id."""
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
        """`error` in the place of the document."""
        return Answer({"id": self.id, "error": one_line(error)}, failure=one_line(error))


@dataclass(frozen=True)
class ConversationLines:
    """How lines are read. defaults: options where a line is silent. flags: the task of lines that name none. given:
    options that the flags set, which win over a task's. model, variant: the checkpoint's name and kind. access: whose
    media may be read."""

    defaults: Options
    voices: Voices
    flags: TaskFlags = field(default_factory=TaskFlags)
    given: Options = field(default_factory=Options)
    model: str = ""
    variant: Variant = Variant.TEXT
    access: MediaAccess = field(default_factory=MediaAccess)

    def item(self, data: dict[str, Any], number: int, where: str) -> ConversationItem:
        """A line without id gets its number, in six digits. Raises OmniError."""
        for key in data:
            if key not in KEYS:
                raise OmniError(f"{where}: unknown key {key!r}{did_you_mean(key, KEYS)}; allowed: {', '.join(KEYS)}")
        said = self._options(data, where)
        media = {key: _names(data.get(key, []), key, where) for key in MEDIA_KEYS}
        item_id, task = _id(data, number, where), self._task(data, where)
        options: Any
        if task is not None:
            speaks = bool(said.get("return_audio", self.defaults.get("return_audio")))
            request = self._task_request(task, data, media, said, speaks, where)
            conversation, options = request.conversation, {**self.defaults, **said, **request.options}
        else:
            conversation = _conversation(data, media, where)
            options = {**self.defaults, **said, **self._functions(None, data, where)}
        with _located(where):
            check_captioner(conversation, self.variant, f"--model {self.model}")
        return ConversationItem(
            id=item_id, where=where, conversation=conversation, options=options, task=task, access=self.access
        )

    def _options(self, data: dict[str, Any], where: str) -> Options:
        """What the line sets itself, which wins over the flags."""
        checks = {key: (kind, wanted) for key, (_, kind, wanted) in _OPTIONS.items()}
        for key, (kind, wanted) in {**checks, "system": (str, "a text"), "text": (str, "a text")}.items():
            if key in data and not isinstance(data[key], kind):
                raise OmniError(f"{where}: {key!r} is {json.dumps(data[key])}; expected {wanted}")
        if data.get("speak") and not self.defaults.get("return_audio"):  # else --speak is to blame
            self.voices.check_speech(f"{where}: 'speak'")
        if "speaker" in data:
            self.voices.check_speaker(data["speaker"], f"{where}: 'speaker'")
        said: Any = {option: data[key] for key, (option, *_) in _OPTIONS.items() if key in data}
        return said

    def _task(self, data: dict[str, Any], where: str) -> Task | None:
        """The task of a line, or that of the flags; null stands for none."""
        for key in TASK_KEYS:
            if data.get(key) is not None and not isinstance(data[key], str):
                raise OmniError(f"{where}: {key!r} is {json.dumps(data[key])}; expected a name")
        if "task" not in data:
            task, words = self.flags.task, f"--task {self.flags.task.name}" if self.flags.task else ""
        elif data["task"] is None:
            task, words = None, ""
        else:
            with _located(where):
                task, words = get_task(data["task"]), "'task'"
        if task is not None and "conversation" in data:
            hint = '; "task": null says that there is none' if "task" not in data else ""
            raise OmniError(f"{where}: 'conversation' and {words} exclude each other{hint}")
        if task is None:
            for key in TASK_KEYS[1:]:
                if data.get(key) is not None:
                    raise OmniError(f"{where}: {key!r} goes with 'task', which is missing")
        return task

    def _task_request(
        self, task: Task, data: dict[str, Any], media: dict[str, list[str]], said: Options, speaks: bool, where: str
    ) -> TaskRequest:
        language = data.get("language", self.flags.language if task.takes_language else None)
        target = data.get("target_language", self.flags.target_language if task.takes_target_language else None)
        with _located(where):
            check_task(task, self.variant, f"--model {self.model}")
            if speaks and task.takes_target_language:
                check_spoken(task.check_languages(None, target)[1] or "English", "'target_language'")
            conversation = task_conversation(task, media, data.get("text"), language, target, data.get("system"))
        tools = self._functions(task, data, where)
        return TaskRequest(conversation, task_options(task, {**self.given, **said, **tools}, self.variant))

    def _functions(self, task: Task | None, data: dict[str, Any], where: str) -> Options:
        """`tools` of the line, or of --tools where the line's task takes some."""
        tools = self.flags.tools if task is None or task.takes_tools else None
        if "tools" in data:
            tools = check_schemas(data["tools"], f"{where}: 'tools'")
        if task is not None:
            with _located(where):
                tools = check_functions(task, tools)
        return {"tools": tools} if tools else {}


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Around what does not know the line: its errors name it as well."""
    try:
        yield
    except OmniError as error:
        raise OmniError(f"{where}: {error}") from None


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
