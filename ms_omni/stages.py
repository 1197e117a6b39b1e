"""Where the work of an answer names its stages, for whoever measures; costs one comparison where nobody does.

with stage("encoders"): ...        # a span; a span within it is taken off its time
mark("thinker_tokens", 4)          # an instant: so many are on the host now
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Watcher(Protocol):
    """Hears of spans and instants, from the thread of the engine loop and from those that read media. One process has
    one watcher."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Around the work of a stage."""

    def mark(self, name: str, count: int) -> None:
        """`count` more of what `name` says have been made."""


_watcher: Watcher | None = None
_NOTHING = nullcontext()


def stage(name: str) -> AbstractContextManager[None]:
    """Around the work of the stage `name`, one of profiling.document.STAGES."""
    return _NOTHING if _watcher is None else _watcher.stage(name)


def mark(name: str, count: int = 1) -> None:
    """`count` more tokens, frames or samples are on the host; `name` is one of profiling.document.MARKS."""
    if _watcher is not None:
        _watcher.mark(name, count)


class StageSequence:
    """Stages that follow each other within one piece of work, which says by `turn()` when the next one begins."""

    def __init__(self, *names: str):
        self._names = list(names)
        self._active: AbstractContextManager[None] = _NOTHING

    def __enter__(self) -> StageSequence:
        self.turn()
        return self

    def turn(self) -> None:
        """The next stage begins; the last one stays."""
        if self._names:
            self._active.__exit__(None, None, None)
            self._active = stage(self._names.pop(0))
            self._active.__enter__()

    def __exit__(self, *error: object) -> None:
        self._active.__exit__(None, None, None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """While active, `watcher` hears of everything."""
    global _watcher
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before
