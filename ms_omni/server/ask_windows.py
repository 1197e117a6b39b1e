"""Asks about the windows of a recording in the event loop: several at a time, with the answers in order.

`recordings.submit_windows` does so in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from ms_omni.inputs.windows import Span, Window
from ms_omni.outputs import StreamChunk

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Line:
    """What comes for one window: chunks, an error, None at the end. Its samples are not kept."""

    span: Span
    items: asyncio.Queue[StreamChunk | Exception | None] = field(default_factory=asyncio.Queue)


async def ask_windows(
    windows: Iterator[Window],
    ask: Callable[[Window], AsyncGenerator[StreamChunk, None]],
    turns: asyncio.Semaphore,
) -> AsyncGenerator[tuple[Span, StreamChunk], None]:
    """(span of a window, a piece of its answer), all of one window before those of the next.

    windows: read by other threads, the next one when there is a turn for it. turns: how many windows are asked at a
    time, of all recordings together; each recording gets them in order of its requests. Closing the iterator cancels
    what is under way. Raises what `windows` and `ask` raise, when it is its window's turn."""
    lines: asyncio.Queue[_Line | Exception | None] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()

    async def answer(window: Window, line: _Line) -> None:
        try:
            async with aclosing(ask(window)) as chunks:
                async for chunk in chunks:
                    line.items.put_nowait(chunk)
            line.items.put_nowait(None)
        except Exception as error:
            line.items.put_nowait(error)
        finally:
            turns.release()

    async def feed() -> None:
        try:
            while (window := await _next(windows, turns)) is not None:
                line = _Line(window.span)
                task = asyncio.create_task(answer(window, line))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                lines.put_nowait(line)
            lines.put_nowait(None)
        except Exception as error:
            lines.put_nowait(error)

    feeder = asyncio.create_task(feed())
    try:
        while (line := _unless_error(await lines.get())) is not None:
            while (chunk := _unless_error(await line.items.get())) is not None:
                yield line.span, chunk
    finally:
        ending = [feeder, *tasks]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def _next(windows: Iterator[Window], turns: asyncio.Semaphore) -> Window | None:
    """The next window, with a turn taken for it."""
    await turns.acquire()
    window = None
    try:
        window = await asyncio.to_thread(next, windows, None)
        return window
    finally:
        if window is None:
            turns.release()


def _unless_error(item: Item | Exception) -> Item:
    if isinstance(item, Exception):
        raise item
    return item
