"""`--task` and the flags that go with it, as `understand` and `batch` have them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ms_omni.errors import OmniError

if TYPE_CHECKING:
    from ms_omni.tasks.task import Task

# In a line of `batch` and a YAML file
TASK_KEYS = ("task", "language", "target_language")


def add_task_flags(group: Any) -> None:
    def add(flag: str, metavar: str, help: str) -> None:
        group.add_argument(flag, metavar=metavar, default=argparse.SUPPRESS, help=help)

    add("--task", "NAME", "ask with the prompt of the model's documents for this task; ms-omni tasks lists them")
    add("--language", "NAME", "language of the speech, or of a picture's text: a name or code; default: unknown")
    add("--target-language", "NAME", "language that the task translates into (default English)")
    add("--tools", "FILE.json", "functions that the answer may call: a JSON list, as in OpenAI's API")


@dataclass(frozen=True)
class TaskFlags:
    """language, target_language: names of the card. tools: of --tools, checked."""

    task: Task | None = None
    language: str | None = None
    target_language: str | None = None
    tools: list[dict[str, Any]] | None = None

    @classmethod
    def of(cls, settings: dict[str, Any]) -> TaskFlags:
        """Raises OmniError for a task, language or file that is none, and for languages without a task."""
        from ms_omni.tasks.functions import load_functions
        from ms_omni.tasks.table import get_task

        task = get_task(settings["task"]) if "task" in settings else None
        language, target_language = (settings.get(key) for key in TASK_KEYS[1:])
        if task is not None:
            language, target_language = task.check_languages(language, target_language)
        else:
            for flag, value in (("language", language), ("target-language", target_language)):
                if value is not None:
                    raise OmniError(f"--{flag} {value}: goes with --task, which is missing")
        tools = load_functions(settings["tools"]) if "tools" in settings else None
        return cls(task, language, target_language, tools)
