"""Boxes and points of a grounding answer, in pixels of the picture."""

from __future__ import annotations

import json
import re
from typing import Any

# The model's coordinates are thousandths of width and height (cookbooks/object_grounding.ipynb, cell 3).
SCALE = 1000
_KINDS = {"bbox_2d": ("box", 4), "point_2d": ("point", 2)}
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


def read_boxes(text: str, size: tuple[int, int]) -> tuple[list[dict[str, Any]], str | None]:
    """(places, what could not be read and why, or None).

    text: an answer such as '[{"bbox_2d": [x1, y1, x2, y2], "label": "bird"}]', or with points, "point_2d": [x, y]; in
    a Markdown fence or not. size: (width, height) of the picture. A place is {"label", "box": [left, top, right,
    bottom]} or {"label", "point": [x, y]}, in pixels with one decimal; label is None where the answer has none."""
    try:
        found = json.loads(_json_part(text))
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", None) or type(error).__name__
        return [], f"the answer is no JSON list of places ({reason})"
    entries = found if isinstance(found, list) else [found]
    places, faults = [], []
    for index, entry in enumerate(entries):
        try:
            places.append(_place(entry, size))
        except ValueError as error:
            faults.append(f"place {index}: {error}")
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return places, faults[0] + more if faults else None


def _json_part(text: str) -> str:
    """The first Markdown fence, else the text from the first bracket to the last."""
    if fenced := _FENCE.search(text):
        return fenced[1]
    starts = [place for place in (text.find("["), text.find("{")) if place >= 0]
    return text[min(starts) : max(text.rfind("]"), text.rfind("}")) + 1] if starts else text


def _place(entry: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Raises ValueError for an entry that is not a place."""
    keys = [key for key in _KINDS if isinstance(entry, dict) and key in entry]
    if len(keys) != 1:
        raise ValueError(f"expected an object with one of {', '.join(_KINDS)}, got {_short(entry)}")
    kind, count = _KINDS[keys[0]]
    values = entry[keys[0]]
    if not isinstance(values, list) or len(values) != count or not all(map(_is_coordinate, values)):
        raise ValueError(f"{keys[0]} is {_short(values)}; expected {count} numbers from 0 to {SCALE}")
    if kind == "box" and (values[0] > values[2] or values[1] > values[3]):
        raise ValueError(f"{keys[0]} is {_short(values)}; expected left, top, right, bottom")
    label = entry.get("label")
    if label is not None and not isinstance(label, str):
        raise ValueError(f"label is {_short(label)}; expected a text")
    pixels = [round(value / SCALE * size[index % 2], 1) for index, value in enumerate(values)]
    return {"label": label, kind: pixels}


def _is_coordinate(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 <= value <= SCALE


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
