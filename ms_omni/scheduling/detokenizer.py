"""Token ids to text deltas, as they come."""

from __future__ import annotations

from collections.abc import Callable

from ms_omni.outputs import TextDelta

# What a decoder writes for bytes that are no whole character
REPLACEMENT = "\ufffd"


class Detokenizer:
    """Of one answer. Holds back the ids of a last character that may not be whole yet, and no others: bytes that never
    make a character are given out. The tokenizer works on bytes, so text that begins behind a whole character does not
    depend on what stood before it. Holds back, too, what may be the beginning of a text that ends the answer.

    is_stopped: such a text has come. It and what follows it are no part of the answer."""

    is_stopped = False

    def __init__(self, decode: Callable[[list[int]], str], stop_texts: tuple[str, ...] = ()):
        """decode: ids to text."""
        self._decode, self._stop_texts = decode, stop_texts
        self._pending: list[int] = []  # not decoded
        self._held = ""  # decoded, and not given out
        self._held_ids: list[int] = []
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
        self._held += text
        self._held_ids += self._pending[:num_ready]
        self._pending = self._pending[num_ready:]
        length = self._num_sure(is_last)
        if not self._held_ids or (self._held and not length and not is_last and not self.is_stopped):
            return None
        # With all ids that are held: which of them a character came from is not known
        delta = TextDelta(self._held[:length], tuple(self._held_ids))
        self._parts.append(delta.text)
        self._held, self._held_ids = self._held[length:], []
        return delta

    def _num_sure(self, is_last: bool) -> int:
        """How many characters of what is held belong to the answer whatever comes."""
        found = [place for stop in self._stop_texts if (place := self._held.find(stop)) >= 0]
        if found:
            self.is_stopped = True
            return min(found)
        if is_last:
            return len(self._held)
        return next(
            place
            for place in range(len(self._held) + 1)
            if place == len(self._held) or any(stop.startswith(self._held[place:]) for stop in self._stop_texts)
        )

    def _before_the_last_character(self, text: str) -> tuple[int, str]:
        """How many pending ids come before the last character, which may be only half there, and their text. Where
        a character is cut, its parts decode to other text than the whole."""
        for num_ready in range(len(self._pending) - 1, 0, -1):
            head = self._decode(self._pending[:num_ready])
            if head + self._decode(self._pending[num_ready:]) == text:
                return num_ready, head
        return 0, ""
