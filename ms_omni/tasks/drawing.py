"""Boxes and points drawn into their picture, with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

# Distinct on most pictures; places with the same label have the same colour
_COLOURS = ("#00e000", "#ff3030", "#40a0ff", "#ffc000", "#e040ff", "#00e0e0")


def draw_places(image: Image.Image, places: Sequence[dict[str, Any]]) -> Image.Image:
    """A copy of an RGB picture with the places of `read_boxes` drawn. Lines grow with the picture."""
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    width = max(2, round(min(image.size) / 200))
    font = ImageFont.truetype(_font_file(), max(10, round(min(image.size) / 30)))
    labels = list(dict.fromkeys(place["label"] for place in places))
    for place in places:
        colour = _COLOURS[labels.index(place["label"]) % len(_COLOURS)]
        if "box" in place:
            left, top, right, bottom = place["box"]
            pen.rectangle((left, top, right, bottom), outline=colour, width=width)
        else:
            left, top = place["point"]
            radius = 2 * width
            pen.ellipse((left - radius, top - radius, left + radius, top + radius), outline=colour, width=width)
        if place["label"]:
            _write(pen, (left, top), place["label"], font, colour, image.size)
    return drawn


def _font_file() -> str:
    """DejaVu Sans from matplotlib: Pillow's own font has only English letters."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def _write(
    pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, font: Any, colour: str, size: tuple[int, int]
) -> None:
    """Above the corner, or as near to it as the picture allows."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    x = min(max(-left, corner[0]), max(-left, size[0] - right))
    y = min(max(-top, corner[1] - bottom), max(-top, size[1] - bottom))
    pen.rectangle(pen.textbbox((x, y), text, font=font), fill="black")
    pen.text((x, y), text, font=font, fill=colour)
