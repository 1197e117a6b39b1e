"""The trained tiny checkpoint that is part of the package: what answers when no model is named."""

from pathlib import Path

NAME = "built-in"  # as --model takes it
DIRECTORY = Path(__file__).parents[1] / "assets" / "tiny"
WHAT_IT_IS = (
    "the built-in tiny model answers: 7.7 M parameters, which know generated shapes, spoken words and tones, "
    "and little else; --model DIR names another"
)
