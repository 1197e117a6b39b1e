"""What a checkpoint can do, found in its small files."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms_omni.answer_parts import ends_in_reasoning
from ms_omni.checkpoint.compressed import checkpoint_quantization
from ms_omni.checkpoint.config import read_generation_config, read_json
from ms_omni.checkpoint.resolve import resolve_checkpoint
from ms_omni.cli.voices import Voices
from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.tasks.table import TASKS
from ms_omni.tasks.variant import Variant, check_task, variant_of

_PROBE_NAME = "probe_of_functions"
_PROBE = {"type": "function", "function": {"name": _PROBE_NAME, "parameters": {"type": "object"}}}
_DOES = {
    Variant.INSTRUCT: "answers text, pictures, sound and video, in text and speech",
    Variant.THINKING: "answers text, pictures, sound and video, in text, with its reasoning first",
    Variant.CAPTIONER: "describes one recording in text; takes no prompt and nothing else",
    Variant.TEXT: "answers in text; it has no Talker, and its name says neither Thinking nor Captioner",
}


@dataclass(frozen=True)
class Capabilities:
    """path: the checkpoint. speakers: None without a Talker. opens_reasoning, calls_functions: whether its chat
    template begins the reasoning itself, and whether it has a place for functions; None where it cannot be rendered.
    temperature: of text, 0 for greedy decoding. tasks: names of the tasks that may be asked. quantization: int8 or
    none."""

    path: str
    variant: str
    does: str
    speakers: list[str] | None
    opens_reasoning: bool | None
    calls_functions: bool | None
    temperature: float
    tasks: list[str]
    quantization: str

    @classmethod
    def of(cls, model: str) -> Capabilities:
        """Raises OmniError for what is no checkpoint, and for a quantized one that cannot be loaded."""
        path = resolve_checkpoint(model)
        variant = variant_of(path)
        plain, offering = _prompt(path, None), _prompt(path, [_PROBE])
        sampling = SamplingParams().resolved(read_generation_config(path))
        return cls(
            path=str(path),
            variant=variant.value,
            does=_DOES[variant],
            speakers=Voices.of(path).speakers,
            opens_reasoning=None if plain is None else ends_in_reasoning(plain),
            calls_functions=None if offering is None else _PROBE_NAME in offering,
            temperature=sampling.thinker_temperature or 0.0,
            tasks=[task.name for task in TASKS.values() if _may(task, variant)],
            quantization=checkpoint_quantization(path),
        )

    def lines(self) -> list[str]:
        """For people to read."""
        speakers = f"; speakers: {', '.join(self.speakers)}" if self.speakers else ""
        decoding = "greedily" if self.temperature == 0 else f"at temperature {self.temperature:g}"
        said = [f"checkpoint {self.path}: {self.variant}: {self.does}{speakers}", f"text is decoded {decoding}"]
        if self.quantization != "none":
            said.append(f"weights of its decoder layers are {self.quantization}")
        if self.opens_reasoning:
            said.append("its prompts open the reasoning")
        if self.calls_functions is not None:
            said.append(f"functions (--tools) have {'a' if self.calls_functions else 'no'} place in its prompts")
        few = len(self.tasks) < len(TASKS) / 2
        missing = [name for name in TASKS if name not in self.tasks]
        tasks = ", ".join(self.tasks) if few else f"all but {', '.join(missing)}" if missing else "all"
        return [*said, f"tasks: {tasks}"]


def _may(task: Any, variant: Variant) -> bool:
    try:
        check_task(task, variant, "")
    except OmniError:
        return False
    return True


def _prompt(path: Path, tools: Any) -> str | None:
    """The prompt of a short question with these functions; None if no chat template renders it."""
    template = _template(path)
    if template is None:
        return None
    with suppress(Exception):  # whatever a template raises; and transformers may be what the machine lacks
        from transformers.utils.chat_template_utils import render_jinja_template

        messages = [{"role": "user", "content": "?"}]
        rendered: Any = render_jinja_template(
            [messages], tools=tools, chat_template=template, add_generation_prompt=True
        )
        return rendered[0][0]
    return None


def _template(path: Path) -> str | None:
    """The chat template, looked for where transformers looks, in its order."""
    with suppress(OSError, UnicodeDecodeError):
        return (path / "chat_template.jinja").read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        with suppress(OmniError):
            template = read_json(path / name).get("chat_template")
            if isinstance(template, str):
                return template
    return None
