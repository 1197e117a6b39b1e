"""Submits the windows of a recording to an engine from a thread: several at a time, with the answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from threading import Semaphore

from ms_omni.inputs.windows import Span, Window
from ms_omni.outputs import StreamChunk
from ms_omni.scheduling.request import RequestHandle

# Windows of one recording that may be asked or answered while an earlier answer is not complete
_MOST_ASKED = 64


def submit_windows(
    windows: Iterator[Window], submit: Callable[[Window], RequestHandle], turns: Semaphore
) -> Generator[tuple[Span, StreamChunk], None, None]:
    """Yields (span of a window, a piece of its answer), in the order of the windows.

    windows: the next one is read when it can be asked. turns: limits how many windows are asked at a time, by all
    recordings together. Closing the iterator cancels the requests. Raises what a handle raises; what `windows` and
    `submit` raise comes after the answers to the windows before."""
    asked: deque[tuple[Span, RequestHandle]] = deque()
    wrong: Exception | None = None
    is_last = False

    def ask() -> None:
        nonlocal is_last, wrong
        while not is_last and len(asked) < _MOST_ASKED and turns.acquire(blocking=not asked):
            handle = None
            try:
                if (window := next(windows, None)) is not None:
                    handle = submit(window)
                    asked.append((window.span, handle))
            except Exception as error:
                wrong = error
            if handle is None:
                is_last = True
                turns.release()
            else:
                handle.add_done_callback(lambda _: turns.release())

    try:
        ask()
        while asked:
            span, handle = asked[0]
            for chunk in handle:
                ask()
                yield span, chunk
            asked.popleft()
            ask()
        if wrong is not None:
            raise wrong
    finally:
        for _, handle in asked:
            handle.cancel()
