"""Hooks by which profiling sees the stages of the work; one comparison each when nothing is profiled.

with stage("encoders"): ...        # a span; a span within it is taken off its time
mark("thinker_tokens", 4)          # an instant: so many are on the host now
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Watcher(Protocol):
    """Receives spans and instants, from the engine's thread and those that read media. A process has one."""

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
    """Consecutive stages of one piece of work; `turn()` begins the next stage."""

    def __init__(self, *names: str):
        self._names = list(names)
        self._active: AbstractContextManager[None] = _NOTHING

    def __enter__(self) -> StageSequence:
        self.turn()
        return self

    def turn(self) -> None:
        """Begins the next stage; the last stage lasts until the end."""
        if self._names:
            self._active.__exit__(None, None, None)
            self._active = stage(self._names.pop(0))
            self._active.__enter__()

    def __exit__(self, *error: object) -> None:
        self._active.__exit__(None, None, None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """While active, `watcher` receives all spans and instants."""
    global _watcher
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before
