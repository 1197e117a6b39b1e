"""Which released variant a checkpoint is, and what it can be asked.

The README ("Model Description and Download") names three: Instruct writes and speaks, Thinking reasons first and
writes, Captioner describes one recording. The last two have equal config.json: only their names tell them apart."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

from ms_omni.checkpoint.config import has_talker, read_json
from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.inputs.schema import part_type
from ms_omni.tasks.task import Task

_CHOICE = ("thinker_temperature", "thinker_top_p", "thinker_top_k")


class Variant(Enum):
    """TEXT: no Talker, and a name that says nothing else."""

    INSTRUCT = "Instruct"
    THINKING = "Thinking"
    CAPTIONER = "Captioner"
    TEXT = "without a Talker"


def variant_of(checkpoint: str | Path) -> Variant:
    """The variant of a checkpoint's directory, by its name, its repository's name in a hub's cache, and `_name_or_path`
    in config.json. Raises OmniError for a directory without a readable config.json."""
    path = Path(checkpoint)
    config = read_json(path / "config.json")
    if has_talker(config):
        return Variant.INSTRUCT
    repositories = [part for part in path.parts if part.startswith("models--")]
    names = " ".join([path.name, path.resolve().name, *repositories, str(config.get("_name_or_path", ""))]).lower()
    for variant in (Variant.CAPTIONER, Variant.THINKING):
        if variant.value.lower() in names:
            return variant
    return Variant.TEXT


def with_decoding_rule(sampling: SamplingParams, variant: Variant) -> SamplingParams:
    """As the card's evaluation decodes ("Decoding Strategy"): Instruct is greedy; the others follow their
    generation_config.json, as unset values always do. Values that are set stay."""
    if variant is not Variant.INSTRUCT or any(getattr(sampling, name) is not None for name in _CHOICE):
        return sampling
    return replace(sampling, thinker_temperature=0.0)


def check_task(task: Task, variant: Variant, where: str) -> None:
    """Raises OmniError for a task that the variant certainly cannot do. where: the checkpoint, named in the error."""
    if variant is Variant.CAPTIONER and not task.captions:
        raise OmniError(f"{where}: is a Captioner, which cannot do --task {task.name}; expected --task captioner")
    if variant in (Variant.INSTRUCT, Variant.THINKING) and task.captions:
        raise OmniError(
            f"{where}: is {variant.value}, and --task {task.name} is for a Captioner; expected --task audio-caption, "
            "or another checkpoint"
        )


def check_captioner(conversation: list[dict[str, Any]], variant: Variant, where: str) -> None:
    """Raises OmniError for a Captioner that is asked about anything but one recording: "a single-turn model that
    accepts only one audio input per inference. It does not accept any text prompts" (cookbooks/omni_captioner.ipynb,
    cell 2). where: the checkpoint, named in the error."""
    if variant is not Variant.CAPTIONER:
        return
    kinds = [
        f"{message['role']}'s {kind}" if message["role"] != "user" else kind
        for message in conversation
        for kind in (
            ["text"] if isinstance(message["content"], str) else [part_type(part) for part in message["content"]]
        )
    ]
    if kinds != ["audio"]:
        raise OmniError(f"{where}: is a Captioner and takes one audio and no text; got {', '.join(kinds)}")
