"""Errors for mistakes of the user, and suggestions for misspelt words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class OmniError(Exception):
    """Something that the user gave cannot be used. The message is one line: what failed, the value, what is allowed,
    and the flag or key to change. The command line prints it and exits with 2."""


class OmniErrors(OmniError):
    """Several mistakes that were found at once. `lines`: one each; the command line prints them all."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)


class UnknownDecoderError(OmniError):
    """The checkpoint's decoder has a feature that the compiled runtime does not support."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`, did you mean X?` for the closest of `known`, or nothing."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""
