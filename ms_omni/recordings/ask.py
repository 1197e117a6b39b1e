"""The windows of a recording as questions to an engine: several at a time, their answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from threading import Semaphore

from ms_omni.inputs.windows import Span, Window
from ms_omni.outputs import StreamChunk
from ms_omni.scheduling.request import RequestHandle

# Windows of one recording whose answers may wait for an earlier one, with those that are being answered
_MOST_ASKED = 64


def ask_windows(
    windows: Iterator[Window], submit: Callable[[Window], RequestHandle], turns: Semaphore
) -> Generator[tuple[Span, StreamChunk], None, None]:
    """(span of a window, a piece of its answer), all of one window before those of the next.

    windows: the next one is read when there is a turn for it. turns: how many windows are asked at a time, of all
    recordings together. Closing the iterator cancels what is under way. Raises what a handle raises; what `windows` and
    `submit` raise comes behind the answers to the windows before."""
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
