"""A task in words and as data: its rules, and a command line that asks it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ms_omni.tasks.table import OURS
from ms_omni.tasks.task import Prompt, Task

_FILES = {"image": "picture.jpg", "audio": "recording.wav", "video": "film.mp4"}
_ANSWERS = {
    "text": "text",
    "boxes": "JSON with places; --json gives them in pixels as boxes, --render draws them",
    "calls": "calls of the functions; --json gives them as tool_calls, checked against their schemas",
}


def command_of(task: Task) -> str:
    """A command line with example files and words, for users to replace."""
    kind = task.media[0]
    words = ["ms-omni", "understand", "--task", task.name, f"--{kind}", _FILES[kind]]
    words += ["--tools", "functions.json"] if task.takes_tools else []
    if any(prompt.takes("language") for prompt in task.prompts):
        words += ["--language", "en"]
    words += ["--target-language", "fr"] if task.takes_target_language else []
    words += ["--text", task.example] if task.question == "required" and task.example else []
    words += ["--render", "boxes.png"] if task.answer == "boxes" else []
    return shlex.join(words)


def document_of(task: Task) -> dict[str, Any]:
    """All that the table has, for programs."""
    return {
        **asdict(task),
        "options": dict(task.options),
        "takes_language": task.takes_language,
        "takes_target_language": task.takes_target_language,
        "command": command_of(task),
    }


def lines_of(task: Task) -> Iterator[tuple[str, str]]:
    """(what, words), in the order for reading."""
    yield "task", f"{task.name}: {task.summary}"
    yield "medium", "one " + " or ".join(f"--{kind}" for kind in task.media)
    for index, prompt in enumerate(task.prompts):
        yield "prompt" if index == 0 else "or", _prompt_words(prompt)
    if not task.prompts and task.question != "required":
        yield "prompt", "none: the medium says what is asked" if not task.captions else "none"
    yield "question", _question_words(task)
    if task.takes_language:
        known = [prompt.language for prompt in task.prompts if prompt.language]
        names = any(prompt.takes("language") for prompt in task.prompts)
        yield (
            "language",
            "--language: a name or code; "
            + (
                "without it the prompt for a language that is not known"
                if names
                else f"{', '.join(known)} has a prompt of its own"
            ),
        )
    if task.takes_target_language:
        yield "target", "--target-language: a name or code; without it English"
    if task.takes_tools:
        yield "functions", "--tools FILE.json: the functions, which the chat template puts into the prompt"
    yield "system", f"{task.system}\n({task.system_source})" if task.system else "no system prompt"
    yield "rules", "; ".join(_rules(task))
    yield "answer", _ANSWERS[task.answer]
    yield "source", task.source
    yield "command", command_of(task)


def _prompt_words(prompt: Prompt) -> str:
    source = "ours: no document has one for this" if prompt.source == OURS else prompt.source
    return f"{prompt.text}\n({source}{f'; for {prompt.language}' if prompt.language else ''})"


def _question_words(task: Task) -> str:
    if task.question == "refused":
        return "none of your own"
    if task.question == "required":
        return f"--text is required, such as {task.example!r}"
    return f"--text, if given, stands {'in the place of the prompt' if task.prompts else 'behind the medium'}"


def _rules(task: Task) -> Iterator[str]:
    yield "the text comes behind the medium"
    if "video" in task.media:
        yield "2 frames a second of a video"
        yield "a video is heard too" if task.use_audio_in_video else "a video is not heard"
    yield (
        "decoding of the checkpoint's generation_config.json"
        if task.captions
        else ("greedy decoding of Instruct checkpoints, that of generation_config.json of others")
    )
    if task.captions:
        yield "a Captioner checkpoint, which takes nothing else"
