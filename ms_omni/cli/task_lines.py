"""Tasks of a manifest's lines: named by the line, or by `--task` for all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ms_omni.cli.task_flags import TASK_KEYS, TaskFlags
from ms_omni.errors import OmniError
from ms_omni.inputs.access import MediaAccess
from ms_omni.options import Options
from ms_omni.tasks.functions import check_schemas
from ms_omni.tasks.languages import check_spoken
from ms_omni.tasks.request import TaskRequest, check_functions, task_conversation, task_options
from ms_omni.tasks.table import get_task
from ms_omni.tasks.task import Task
from ms_omni.tasks.variant import Variant, check_captioner, check_task


@dataclass(frozen=True)
class TaskLines:
    """flags: for lines that say nothing else. given: options that the flags set, which win over a task's. model: its
    name; variant: its kind. access: whose media may be read."""

    flags: TaskFlags = TaskFlags()
    given: Options = field(default_factory=Options)
    model: str = ""
    variant: Variant = Variant.TEXT
    access: MediaAccess = MediaAccess()

    def of(self, data: dict[str, Any], where: str) -> Task | None:
        """The task of a line; null stands for none. Raises OmniError."""
        for key in TASK_KEYS:
            if data.get(key) is not None and not isinstance(data[key], str):
                raise OmniError(f"{where}: {key!r} is {json.dumps(data[key])}; expected a name")
        if "task" not in data:
            task, words = self.flags.task, f"--task {self.flags.task.name}" if self.flags.task else ""
        elif data["task"] is None:
            task, words = None, ""
        else:
            task, words = _located(where, get_task, data["task"]), "'task'"
        if task is not None and "conversation" in data:
            hint = '; "task": null says that there is none' if "task" not in data else ""
            raise OmniError(f"{where}: 'conversation' and {words} exclude each other{hint}")
        if task is None:
            for key in TASK_KEYS[1:]:
                if data.get(key) is not None:
                    raise OmniError(f"{where}: {key!r} goes with 'task', which is missing")
        return task

    def question(
        self,
        task: Task,
        data: dict[str, Any],
        media: Mapping[str, Sequence[str]],
        said: Options,
        speaks: bool,
        where: str,
    ) -> TaskRequest:
        """said: options of the line itself, which win over the flags'. Raises OmniError."""
        _located(where, check_task, task, self.variant, f"--model {self.model}")
        language = data.get("language", self.flags.language if task.takes_language else None)
        target = data.get("target_language", self.flags.target_language if task.takes_target_language else None)
        if speaks and task.takes_target_language:
            name = _located(where, task.check_languages, None, target)[1]
            _located(where, check_spoken, name or "English", "'target_language'")
        conversation = _located(
            where, task_conversation, task, media, data.get("text"), language, target, data.get("system")
        )
        tools = self.functions(task, data, where)
        return TaskRequest(conversation, task_options(task, {**self.given, **said, **tools}, self.variant))

    def functions(self, task: Task | None, data: dict[str, Any], where: str) -> Options:
        """`tools` of the line, or of --tools where the line's task takes some. Raises OmniError."""
        tools = self.flags.tools if task is None or task.takes_tools else None
        if "tools" in data:
            tools = check_schemas(data["tools"], f"{where}: 'tools'")
        if task is not None:
            tools = _located(where, check_functions, task, tools)
        return {"tools": tools} if tools else {}

    def check_variant(self, conversation: list[dict[str, Any]], where: str) -> None:
        """Raises OmniError for what a Captioner does not take."""
        _located(where, check_captioner, conversation, self.variant, f"--model {self.model}")


def _located(where: str, function: Any, *arguments: Any) -> Any:
    """Its result; what it raises names the line as well."""
    try:
        return function(*arguments)
    except OmniError as error:
        raise OmniError(f"{where}: {error}") from None
