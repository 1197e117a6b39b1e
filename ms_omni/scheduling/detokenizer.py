"""Token ids to text deltas, as they come."""

from __future__ import annotations

from collections.abc import Callable

from ms_omni.outputs import TextDelta

# What a decoder writes for bytes that are no whole character
REPLACEMENT = "\ufffd"


class Detokenizer:
    """Of one answer. Holds back ids whose bytes do not end with a whole character. The tokenizer works on bytes, so
    text that begins behind a whole character does not depend on what stood before it."""

    def __init__(self, decode: Callable[[list[int]], str]):
        """decode: ids to text."""
        self._decode = decode
        self._pending: list[int] = []
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """Of all deltas together."""
        return "".join(self._parts)

    def put(self, ids: list[int], is_last: bool) -> TextDelta | None:
        """The text that these ids complete. is_last: no more will come, so nothing is held back."""
        self._pending += ids
        text = self._decode(self._pending)
        if not self._pending or (text.endswith(REPLACEMENT) and not is_last):
            return None
        delta = TextDelta(text, tuple(self._pending))
        self._parts.append(text)
        self._pending = []
        return delta
