"""What `--task` and the flags that go with it ask for, in `understand` and `batch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ms_omni.cli.flags import TASK_KEYS
from ms_omni.errors import OmniError

if TYPE_CHECKING:
    from ms_omni.tasks.task import Task


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
