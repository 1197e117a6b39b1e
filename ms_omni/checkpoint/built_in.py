"""The trained tiny checkpoint that is part of the package: what answers when no model is named."""

from pathlib import Path

NAME = "built-in"  # as --model takes it
DIRECTORY = Path(__file__).parents[1] / "assets" / "tiny"
WHAT_IT_IS = "the built-in tiny model answers (shapes, spoken words, tones, little else); --model DIR names another"
