"""Reads what `ms-omni batch` has written. Each line shows whether it has our own format or OpenAI's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.evaluation.lines import Lines, named, objects_of

_EXAMPLE = '{"id": "a", "text": "Hello"} or {"custom_id": "a", "response": {...}, "error": null}'
# What Thinking checkpoints write before their answer ends with this (Qwen3's chat templates)
_END_OF_REASONING = "</think>"


@dataclass(frozen=True)
class Result:
    """An answer. text: without reasoning; empty for a failure. failure: why there is no answer. boxes: as the line has
    them, unless has_boxes is False. boxes_error: why some boxes could not be read, in the line's own words."""

    id: str
    where: str
    text: str = ""
    failure: str | None = None
    boxes: Any = None
    has_boxes: bool = False
    boxes_error: str | None = None


def read_results(lines: Lines, name: str = "results") -> dict[str, Result]:
    """By id, in the order of the lines. Raises OmniError naming the line that is no result."""
    results: dict[str, Result] = {}
    for where, data in objects_of(lines, name, _EXAMPLE):
        result = _of_openai(data, where) if "custom_id" in data else _of_batch(data, where)
        if result.id in results:
            raise OmniError(f"{where}: the id {result.id!r} is that of another line; ids must differ")
        results[result.id] = result
    if not results:
        raise OmniError(f"{named(name, lines)}: no result; expected a line such as {_EXAMPLE}")
    return results


def _of_batch(data: dict[str, Any], where: str) -> Result:
    """A line of `batch`'s own results: `id` with `text`, or with `error`."""
    own_id = _text(data, "id", where)
    if data.get("error") is not None:
        return Result(own_id, where, failure=_one_line(data["error"]))
    text = _text(data, "text", where)
    return _result(own_id, where, text, data)


def _of_openai(data: dict[str, Any], where: str) -> Result:
    """https://platform.openai.com/docs/api-reference/batch/request-output"""
    custom_id = _text(data, "custom_id", where)
    response = data.get("response")
    if data.get("error") is not None or response is None:
        return Result(custom_id, where, failure=_one_line(data.get("error") or "no response"))
    try:
        status, body = response["status_code"], response["body"]
        if status != 200:
            return Result(custom_id, where, failure=f"{status} {_one_line(body['error']['message'])}")
        message = body["choices"][0]["message"]
        # A spoken answer may have its words beside the sound alone
        text = message.get("content") or (message.get("audio") or {}).get("transcript") or ""
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise OmniError(f"{where}: no answer at response.body.choices[0].message ({error!r})") from error
    if not isinstance(text, str):
        raise OmniError(f"{where}: the message's 'content' is {json.dumps(text)[:80]}; expected a text")
    return _result(custom_id, where, text, data if "boxes" in data else message)


def _result(name: str, where: str, text: str, place: dict[str, Any]) -> Result:
    """place: where the boxes stand, if there are any."""
    error = place.get("boxes_error")
    return Result(
        name,
        where,
        text.rpartition(_END_OF_REASONING)[2].strip(),
        boxes=place.get("boxes"),
        has_boxes="boxes" in place,
        boxes_error=None if error is None else _one_line(error),
    )


def _text(data: dict[str, Any], key: str, where: str) -> str:
    if key not in data:
        raise OmniError(f"{where}: no {key!r}; expected a line such as {_EXAMPLE}")
    if not isinstance(data[key], str):
        raise OmniError(f"{where}: {key!r} is {json.dumps(data[key], default=str)[:80]}; expected a text")
    return str(data[key])


def _one_line(error: Any) -> str:
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        error = error["message"]
    return " ".join(str(error).split())
