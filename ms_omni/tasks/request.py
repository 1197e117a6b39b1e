"""A task and its medium as a request to the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.inputs.conversation import build_conversation
from ms_omni.inputs.tools import check_tools
from ms_omni.options import Options
from ms_omni.tasks.table import get_task
from ms_omni.tasks.task import VIDEO_FPS, Task
from ms_omni.tasks.variant import Variant, with_decoding_rule

if TYPE_CHECKING:
    import numpy as np

MEDIA = ("image", "audio", "video")


class TaskRequest(NamedTuple):
    """conversation, options: for `OmniEngine.generate`, `stream` and `submit`."""

    conversation: list[dict[str, Any]]
    options: Options


def conversation(
    name: str,
    *,
    image: Any = None,
    audio: Any = None,
    video: Any = None,
    text: str | None = None,
    language: str | None = None,
    target_language: str | None = None,
    system: str | None = None,
    tools: list[dict[str, Any]] | None = None,
    variant: Variant = Variant.INSTRUCT,
) -> TaskRequest:
    """The request of the task `name` about one medium, with the options that the model's documents recommend.

    image, audio, video: as in a conversation's part; one of those that the task is about. text: the user's own
    question. language, target_language: names or codes. system: instead of the task's system prompt. tools: functions
    that the answer may call. variant: of the checkpoint (`variant_of`); Instruct decodes greedily. Raises OmniError for
    an unknown task and for what it lacks or does not take."""
    task = get_task(name)
    media = {"image": image, "audio": audio, "video": video}
    given = {kind: [] if medium is None else [medium] for kind, medium in media.items()}
    messages = task_conversation(task, given, text, language, target_language, system)
    return TaskRequest(messages, task_options(task, {"tools": check_functions(task, tools)}, variant))


def task_conversation(
    task: Task,
    media: Mapping[str, Sequence[Any]],
    text: str | None = None,
    language: str | None = None,
    target_language: str | None = None,
    system: str | None = None,
) -> list[dict[str, Any]]:
    """The messages: the medium before the text (the card's "Input Sequence"), and a system prompt only from the task or
    the caller. media: all that were given, by kind. Raises OmniError."""
    kind, medium = _only_medium(task, media)
    prompt = task.prompt(language, target_language, text)
    messages = build_conversation(task.system if system is None else system, prompt or None, **{f"{kind}s": [medium]})
    if kind == "video":
        messages[-1]["content"][0]["fps"] = VIDEO_FPS
    return messages


def speech_conversation(samples: np.ndarray, prompt: str, system: str | None = None) -> list[dict[str, Any]]:
    """As the card's evaluation asks: the text after the sound, and no system prompt by default.

    samples: float32 (num_samples,) at 16 kHz."""
    return build_conversation(system or None, prompt, audios=[samples])


def _only_medium(task: Task, media: Mapping[str, Sequence[Any]]) -> tuple[str, Any]:
    wanted = " or ".join(f"one --{kind}" for kind in task.media)
    given = [(kind, medium) for kind in MEDIA for medium in media.get(kind, ())]
    for kind, _ in given:
        if kind not in task.media:
            raise OmniError(f"--{kind}: --task {task.name} is about another medium; expected {wanted}")
    if not given:
        raise OmniError(f"--task {task.name}: nothing to look at or listen to; expected {wanted}")
    if len(given) > 1:
        kinds = ", ".join(f"--{kind}" for kind, _ in given)
        raise OmniError(f"{kinds}: --task {task.name} is about a single medium, got {len(given)}; expected {wanted}")
    return given[0]


def check_functions(task: Task, tools: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """`tools`, checked. Raises OmniError for wrong ones, and where the task needs some or takes none."""
    if task.takes_tools and not tools:
        raise OmniError(f"--task {task.name}: --tools is missing; expected the functions that may be called")
    if tools and not task.takes_tools:
        raise OmniError(f"--tools: --task {task.name} calls no functions; leave it out")
    return check_tools(tools, "--tools") if tools else None


def task_options(task: Task, given: Options, variant: Variant) -> Options:
    """What the task recommends, overridden by what is given."""
    sampling = with_decoding_rule(given.get("sampling") or SamplingParams(), variant)
    set_here: Any = {key: value for key, value in given.items() if value is not None}
    return {**task.options, **set_here, "sampling": sampling}
