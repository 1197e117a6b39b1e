"""Turns token ids into text deltas, incrementally."""

from __future__ import annotations

from collections.abc import Callable

from ms_omni.outputs import TextDelta

# The decoder's output for bytes that are not a whole character
REPLACEMENT = "\ufffd"


class Detokenizer:
    """Detokenizes one answer. Holds back the ids of a last character that may be incomplete, and text that may be the
    beginning of a stop text. Bytes that cannot become a character are given out. The tokenizer works on bytes, so the
    text after a whole character does not depend on the ids before it.

    is_stopped: a stop text was found. Neither it nor what follows is part of the answer."""

    is_stopped = False

    def __init__(self, decode: Callable[[list[int]], str], stop_texts: tuple[str, ...] = ()):
        """decode: ids to text."""
        self._decode, self._stop_texts = decode, stop_texts
        self._pending: list[int] = []  # not decoded
        self._held = ""  # decoded, but held back
        self._held_ids: list[int] = []
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """The text of all deltas together."""
        return "".join(self._parts)

    def put(self, ids: list[int], is_last: bool) -> TextDelta | None:
        """The text that these ids complete. is_last: no more ids will come, so nothing is held back."""
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
        # With all held ids: which ids made which characters is unknown
        delta = TextDelta(self._held[:length], tuple(self._held_ids))
        self._parts.append(delta.text)
        self._held, self._held_ids = self._held[length:], []
        return delta

    def _num_sure(self, is_last: bool) -> int:
        """How many held characters belong to the answer, whatever comes next."""
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
        """How many pending ids come before the last character, which may be incomplete, and their text. The parts of a
        character that is cut in two decode to other text than the whole."""
        for num_ready in range(len(self._pending) - 1, 0, -1):
            head = self._decode(self._pending[:num_ready])
            if head + self._decode(self._pending[num_ready:]) == text:
                return num_ready, head
        return 0, ""
