"""The windows of a recording as questions to an engine: several at a time, their answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from ms_omni.inputs.windows import Span, Window
from ms_omni.outputs import StreamChunk
from ms_omni.scheduling.request import RequestHandle

# Windows whose answers may wait for an earlier one, for each that is answered at a time
_WAITING = 2


def ask_windows(
    windows: Iterator[Window], submit: Callable[[Window], RequestHandle], num_at_once: int
) -> Iterator[tuple[Span, StreamChunk]]:
    """(span of a window, a piece of its answer), all of one window before those of the next.

    windows: the next one is read when it can be asked. num_at_once: how many are asked at a time. Closing the iterator
    cancels what is under way. Raises what `windows` raises, behind the answers before that, and what a handle raises."""
    asked: deque[tuple[Span, RequestHandle]] = deque()
    wrong: Exception | None = None
    is_last = False

    def ask() -> None:
        nonlocal is_last, wrong
        most = num_at_once * _WAITING
        while not is_last and len(asked) < most and sum(not handle.done for _, handle in asked) < num_at_once:
            try:
                window = next(windows, None)
            except Exception as error:
                wrong, window = error, None
            if window is None:
                is_last = True
            else:
                asked.append((window.span, submit(window)))

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
