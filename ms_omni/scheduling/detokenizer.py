"""Token ids to text deltas, as they come."""

from __future__ import annotations

from collections.abc import Callable

from ms_omni.outputs import TextDelta

# What a decoder writes for bytes that are no whole character
REPLACEMENT = "\ufffd"


class Detokenizer:
    """Of one answer. Holds back the ids of a last character that may not be whole yet, and no others: bytes that never
    make a character are given out. The tokenizer works on bytes, so text that begins behind a whole character does not
    depend on what stood before it."""

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
        num_ready = len(self._pending)
        if text.endswith(REPLACEMENT) and not is_last:
            num_ready, text = self._before_the_last_character(text)
        if not num_ready:
            return None
        delta = TextDelta(text, tuple(self._pending[:num_ready]))
        self._parts.append(text)
        self._pending = self._pending[num_ready:]
        return delta

    def _before_the_last_character(self, text: str) -> tuple[int, str]:
        """How many pending ids come before the last character, which may be only half there, and their text. Where
        a character is cut, its parts decode to other text than the whole."""
        for num_ready in range(len(self._pending) - 1, 0, -1):
            head = self._decode(self._pending[:num_ready])
            if head + self._decode(self._pending[num_ready:]) == text:
                return num_ready, head
        return 0, ""
