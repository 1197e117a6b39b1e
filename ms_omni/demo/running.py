"""Running answers, one for each browser tab, which can be stopped from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from ms_omni.demo.client import Delta


class Running:
    """The running answer of each tab, by Gradio's session hash."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def answer(self, tab: str, deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
        """Yields everything that has come since the last piece as one piece. Ends early when the tab's answer is
        stopped; raises what `deltas` raises. In every case closes `deltas`, and with it the connection."""
        pieces: asyncio.Queue[Delta | None] = asyncio.Queue()
        task = asyncio.create_task(_pump(deltas, pieces))
        self.stop(tab)
        self._tasks[tab] = task
        try:
            ended = False
            while not ended:
                taken = [await pieces.get()]
                while not pieces.empty():
                    taken.append(pieces.get_nowait())
                ended = taken[-1] is None
                if known := [piece for piece in taken if piece is not None]:
                    yield sum(known[1:], start=known[0])
            with suppress(asyncio.CancelledError):
                await task
        finally:
            task.cancel()
            if self._tasks.get(tab) is task:
                del self._tasks[tab]

    def stop(self, tab: str) -> None:
        """Stops the tab's answer. May be called from any thread."""
        if task := self._tasks.get(tab):
            task.get_loop().call_soon_threadsafe(task.cancel)


async def _pump(deltas: AsyncGenerator[Delta, None], pieces: asyncio.Queue[Delta | None]) -> None:
    try:
        async for delta in deltas:
            pieces.put_nowait(delta)
    finally:
        pieces.put_nowait(None)
        await deltas.aclose()
