"""Reads an answer's text: reasoning, calls of functions, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ms_omni.answer_parts import AnswerParts
from ms_omni.tasks.boxes import read_boxes
from ms_omni.tasks.functions import read_calls


def read_answer(
    text: str,
    *,
    reasons: bool = False,
    tools: Sequence[dict[str, Any]] | None = None,
    size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Fields for a result's JSON document.

    `text`: the answer without reasoning and calls. `reasoning`: if there is some. `tool_calls`: if functions were
    offered, see `read_calls`. `boxes`, `image_size`, and `boxes_error` for what could not be read: if a picture's size
    is given, see `read_boxes`.

    reasons: the prompt has already opened the reasoning (`opens_reasoning`). tools: the functions that were offered.
    size: (width, height) of the picture."""
    parts = AnswerParts(reasons, bool(tools)).put(text, is_last=True)
    reasoning = "".join(part.text for part in parts if part.kind == "reasoning")
    content = "".join(part.text for part in parts if part.kind == "content")
    fields: dict[str, Any] = {"text": content if any(part.kind != "content" for part in parts) else text}
    if reasoning:
        fields["reasoning"] = reasoning
    if tools:
        fields["tool_calls"] = read_calls(parts, tools)
    if size is not None:
        places, error = read_boxes(content, size)
        fields |= {"boxes": places, "image_size": list(size)}
        if error is not None:
            fields["boxes_error"] = error
    return fields
