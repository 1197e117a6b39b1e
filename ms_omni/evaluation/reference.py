"""Reads a reference file: the right answers, checked line by line."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from ms_omni.errors import OmniError, did_you_mean
from ms_omni.evaluation.lines import Lines, named, objects_of

MEDIA_KEYS = ("audio", "image", "video")
KEYS = ("id", "text", "label", "choices", "boxes", "language", *MEDIA_KEYS)
_EXAMPLES = {
    "text": '{"id": "a", "text": "what is said", "language": "en"}',
    "label": '{"id": "a", "label": "B", "choices": ["a dog", "a cat"]}',
    "boxes": '{"id": "a", "boxes": [{"label": "dog", "box": [0, 0, 10, 20]}]}',
}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Box:
    """corners: left, top, right, bottom in pixels. label: None where a reference takes any."""

    label: str | None
    corners: tuple[float, float, float, float]


@dataclass(frozen=True)
class Reference:
    """One line. texts, labels: each of them is right. choices: letter -> text, for a question of multiple choice; then
    `labels` is one of its letters. media: (key, path or URL) to look at."""

    id: str
    where: str
    language: str | None = None
    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    choices: dict[str, str] | None = None
    boxes: tuple[Box, ...] = ()
    media: tuple[tuple[str, str], ...] = ()


def read_reference(lines: Lines, key: str, may_repeat: bool, metric: str, language: str | None) -> list[Reference]:
    """The references in the order of the lines. key: "text", "label" or "boxes", what the metric needs on every line.
    may_repeat: whether a line may have several texts. language: of lines that name none.
    Raises OmniError naming the line."""
    references: dict[str, Reference] = {}
    for where, data in objects_of(lines, "--reference", _EXAMPLES[key]):
        for unknown in data:
            if unknown not in KEYS:
                guess = did_you_mean(unknown, KEYS)
                raise OmniError(f"{where}: unknown key {unknown!r}{guess}; allowed: {', '.join(KEYS)}")
        for needed in ("id", key):
            if needed not in data:
                raise OmniError(f"{where}: no {needed!r}, which {metric} needs; expected {_EXAMPLES[key]}")
        reference = _reference(data, where, language)
        if not may_repeat and len(reference.texts) > 1:
            raise OmniError(f"{where}: {len(reference.texts)} texts; {metric} takes one (several: bleu, chrf)")
        if reference.id in references:
            raise OmniError(f"{where}: the id {reference.id!r} is that of another line; ids must differ")
        references[reference.id] = reference
    if not references:
        raise OmniError(f"{named('--reference', lines)}: no line; expected lines such as {_EXAMPLES[key]}")
    return list(references.values())


def _reference(data: dict[str, Any], where: str, language: str | None) -> Reference:
    choices = _choices(data["choices"], where) if data.get("choices") is not None else None
    labels = _texts(data, "label", where)
    if choices is not None and labels:
        labels = (_letter(labels, choices, where),)
    media = tuple((key, name) for key in MEDIA_KEYS for name in _texts(data, key, where))
    return Reference(
        id=_one_text(data, "id", where),
        where=where,
        language=_one_text(data, "language", where) if data.get("language") is not None else language,
        texts=_texts(data, "text", where),
        labels=labels,
        choices=choices,
        boxes=_boxes(data["boxes"], where) if "boxes" in data else (),
        media=media,
    )


def _one_text(data: dict[str, Any], key: str, where: str) -> str:
    texts = _texts(data, key, where)
    if len(texts) != 1:
        raise OmniError(f"{where}: {key!r} is a list of {len(texts)}; expected one text")
    return texts[0]


def _texts(data: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    """The value of `key` as a tuple: a text, or a list of them; nothing where the key is missing."""
    if key not in data:
        return ()
    values = data[key] if isinstance(data[key], list) else [data[key]]
    if not values or not all(isinstance(value, str) and value.strip() for value in values):
        raise OmniError(f"{where}: {key!r} is {_cut(data[key])}; expected a text that is not empty, or a list of them")
    return tuple(values)


def _choices(value: Any, where: str) -> dict[str, str]:
    """letter -> text, from a list of texts or from an object. A letter that stands before its own text is removed."""
    if isinstance(value, list):
        if len(value) > len(LETTERS):
            raise OmniError(f"{where}: 'choices' has {len(value)}; expected at most {len(LETTERS)}")
        value = dict(zip(LETTERS, value, strict=False))
    is_right = isinstance(value, dict) and len(value) >= 2
    if not is_right or not all(key in LETTERS and len(key) == 1 and isinstance(text, str) and text.strip()
                               for key, text in value.items()):  # fmt: skip
        example = '["a dog", "a cat"] or {"A": "a dog", "B": "a cat"}'
        raise OmniError(f"{where}: 'choices' is {_cut(value)}; expected {example}")
    return {letter: _without_letter(letter, text.strip()) for letter, text in value.items()}


def _without_letter(letter: str, text: str) -> str:
    """'B. Candles' and '(B) Candles' are 'Candles'."""
    for start in (f"({letter})", f"{letter}.", f"{letter})", f"{letter}:"):
        if text.startswith(start) and text[len(start) :].strip():
            return text[len(start) :].strip()
    return text


def _letter(labels: tuple[str, ...], choices: dict[str, str], where: str) -> str:
    """The letter of the right choice. The label is the letter or the text."""
    if len(labels) == 1:
        label = labels[0].strip()
        if label in choices:
            return label
        found = [letter for letter, text in choices.items() if label in (text, f"({letter})", f"{letter}.")]
        found = found or [letter for letter, text in choices.items() if _without_letter(letter, label) == text]
        if len(found) == 1:
            return found[0]
    raise OmniError(f"{where}: 'label' is {_cut(list(labels))}; expected one of the choices, by letter or text: "
                    f"{', '.join(f'{letter} ({text})' for letter, text in choices.items())[:200]}")  # fmt: skip


def _boxes(value: Any, where: str) -> tuple[Box, ...]:
    found = boxes_of(value, f"{where}: 'boxes'")
    if not found:
        raise OmniError(f"{where}: 'boxes' is empty; expected at least one box")
    for box in found:
        left, top, right, bottom = box.corners
        if right <= left or bottom <= top:
            raise OmniError(f"{where}: 'boxes': {list(box.corners)} has no area; expected x1 < x2 and y1 < y2")
    return found


def boxes_of(value: Any, where: str, skips_points: bool = False) -> tuple[Box, ...]:
    """Reads a list of {"label", "box": [left, top, right, bottom]} in pixels. skips_points: leave out places that are
    {"point": ...} instead, which cover nothing. Raises OmniError that begins with `where`."""
    if not isinstance(value, list):
        raise OmniError(f'{where} is {_cut(value)}; expected a list of {{"label", "box": [x1, y1, x2, y2]}}')
    boxes = []
    for item in value:
        if skips_points and isinstance(item, dict) and "point" in item:
            continue
        corners = item.get("box") if isinstance(item, dict) else None
        is_box = isinstance(corners, (list, tuple)) and len(corners) == 4 and all(map(_is_number, corners))
        label = item.get("label") if isinstance(item, dict) else None
        if not is_box or not (label is None or isinstance(label, str)):
            raise OmniError(f'{where} holds {_cut(item)}; expected {{"label": "dog", "box": [x1, y1, x2, y2]}}')
        assert corners is not None
        left, top, right, bottom = map(float, corners)
        boxes.append(Box(label, (left, top, right, bottom)))
    return tuple(boxes)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _cut(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)[:80]
