"""Splits an answer's text into reasoning, content and tool calls while it is generated."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ms_omni.inputs.processor import InputProcessor

# The marks that Qwen3's chat templates ask the model to write
_THINK, _END_THINK = "<think>", "</think>"
_CALL, _END_CALL = "<tool_call>", "</tool_call>"


def opens_reasoning(processor: InputProcessor) -> bool:
    """Whether the checkpoint's prompts end with the beginning of the model's reasoning."""
    return ends_in_reasoning(processor.render([{"role": "user", "content": "?"}]))


def ends_in_reasoning(prompt: str) -> bool:
    """Whether this rendered prompt ends with the mark that opens the model's reasoning."""
    return prompt.rstrip().endswith(_THINK)


@dataclass(frozen=True)
class Part:
    """kind: what `text` is a piece of. A call always comes whole: `text` holds its arguments as JSON, `name` its
    function."""

    kind: Literal["reasoning", "content", "call"]
    text: str
    name: str = ""


class AnswerParts:
    """Splits the text of one answer. White space between parts is dropped."""

    def __init__(self, reasons: bool, has_tools: bool):
        """reasons: the prompt ends with the mark that opens the reasoning. has_tools: tools were offered; without them
        anything that looks like a call is content."""
        self._mode = "reasoning" if reasons else "start"
        self._has_tools = has_tools
        self._text = ""  # not assigned to a part yet
        self._has_content = False

    @property
    def is_in_call(self) -> bool:
        """Whether the text ends inside a call."""
        return self._mode == "call"

    def put(self, text: str, is_last: bool = False) -> list[Part]:
        """Adds text, and returns the parts that are now certain. is_last: no more text will come."""
        self._text += text
        parts: list[Part] = []
        while self._take(parts, is_last):
            pass
        return [part for part in parts if part.text or part.kind == "call"]

    def _take(self, parts: list[Part], is_last: bool) -> bool:
        """Moves one part, or a piece of one, from the text to `parts`. Returns whether more may follow."""
        if self._mode == "start":
            return self._begin(is_last)
        if self._mode == "reasoning":
            return self._take_until(_END_THINK, "reasoning", "content", parts, is_last)
        if self._mode == "call":
            return self._take_call(parts, is_last)
        if self._has_tools:
            return self._take_until(_CALL, "content", "call", parts, is_last)
        parts.append(Part("content", self._lead(self._text)))
        self._text = ""
        return False

    def _begin(self, is_last: bool) -> bool:
        text = self._text.lstrip()
        if text.startswith(_THINK):
            self._text, self._mode = text[len(_THINK) :].lstrip("\n"), "reasoning"
        elif not _THINK.startswith(text) or is_last:
            self._mode = "content"
        return self._mode != "start"

    def _take_until(
        self, mark: str, kind: Literal["reasoning", "content"], then: str, parts: list[Part], is_last: bool
    ) -> bool:
        """Takes the text up to `mark`. Without it, keeps back what may be its beginning, and the space before."""
        place = self._text.find(mark)
        if place >= 0:
            parts.append(Part(kind, self._lead(self._text[:place]).rstrip()))
            self._text, self._mode = self._text[place + len(mark) :], then
            if kind == "reasoning":
                self._text = self._text.lstrip("\n")
            return True
        length = len(self._text)
        if not is_last:
            length = next(i for i in range(length + 1) if mark.startswith(self._text[i:]) or i == length)
            length = len(self._text[:length].rstrip())
        parts.append(Part(kind, self._lead(self._text[:length])))
        self._text = self._text[length:]
        return False

    def _lead(self, text: str) -> str:
        """The text without line breaks before the first word of reasoning or content."""
        if not self._has_content:
            text = text.lstrip("\n")
        self._has_content = self._has_content or bool(text)
        return text

    def _take_call(self, parts: list[Part], is_last: bool) -> bool:
        """Takes a whole call. A call that is cut off or is not valid JSON becomes content."""
        place = self._text.find(_END_CALL)
        if place < 0 and not is_last:
            return False
        inside, rest = (self._text[:place], self._text[place + len(_END_CALL) :]) if place >= 0 else (self._text, "")
        end = _END_CALL if place >= 0 else ""
        parts.append(_call(inside) or Part("content", _CALL + inside + end))
        self._text, self._mode, self._has_content = rest, "content", False
        return bool(rest) or place >= 0


def _call(text: str) -> Part | None:
    try:
        call = json.loads(text)
        name, arguments = call["name"], call.get("arguments", {})
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return Part("call", json.dumps(arguments, ensure_ascii=False), name)
