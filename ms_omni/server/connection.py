"""Connections: clients that disconnect, and server-sent events that keep a connection alive."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ms_omni.server.errors import CLIENT_CLOSED, ApiError, api_error

KEEP_ALIVE_S = 15.0
# Errors until then become the status of the answer; later the stream has begun, and errors are events
FIRST_EVENT_S = 10.0
LAST_EVENT = b"data: [DONE]\n\n"

T = TypeVar("T")


async def cancel_if_disconnected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. When the client disconnects, cancels it and raises ApiError 499."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise client_gone()
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


def client_gone() -> ApiError:
    """The error 499, which nobody reads but the log."""
    return ApiError(CLIENT_CLOSED, "the client closed the connection", code="client_closed")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def event(item: Any) -> bytes:
    """A server-sent event that holds an object as JSON."""
    return b"data: " + json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class EventStream(Response):
    """Server-sent events: JSON objects, then [DONE]. Errors are events too, since the status is already sent. `on_end`
    is called with the status with which the request has ended."""

    def __init__(self, events: AsyncGenerator[dict[str, Any], None], on_end: Callable[[int], object]):
        super().__init__(
            media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        del self.headers["content-length"]
        self._events, self._on_end = events, on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events, and ends when the client closes the connection."""
        try:
            await cancel_if_disconnected(receive, self._pump(send))
        except ApiError as error:
            self._on_end(error.status)

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        status, last = 200, time.monotonic()

        async def put(data: bytes, more: bool = True) -> None:
            nonlocal last
            last = time.monotonic()
            await send({"type": "http.response.body", "body": data, "more_body": more})

        async def keep_alive() -> None:
            while True:
                await asyncio.sleep(KEEP_ALIVE_S)
                if time.monotonic() - last >= KEEP_ALIVE_S:
                    await put(b": still working\n\n")

        beside = asyncio.ensure_future(keep_alive())
        try:
            async for item in self._events:
                if "error" in item:
                    status = item["error"].pop("status", 500)
                await put(event(item))
            await put(LAST_EVENT)
            await put(b"", more=False)
            self._on_end(status)
        finally:
            beside.cancel()
            await self._events.aclose()


async def event_response(request: Request, made: AsyncGenerator[dict[str, Any], None]) -> EventStream:
    """The events as they are made. The stream begins with the first event, or after FIRST_EVENT_S: errors until then
    are raised, later ones become an event."""
    first = asyncio.ensure_future(_next(made))
    try:
        await asyncio.wait({first}, timeout=FIRST_EVENT_S)
        if first.done():
            first.result()
    except BaseException:
        await _close(first, made)
        raise

    async def events() -> AsyncGenerator[dict[str, Any], None]:
        try:
            yield await first
            async for item in made:
                yield item
        except Exception as error:
            known = api_error(error)
            yield {"error": {**known.body["error"], "status": known.status}}
        finally:
            await _close(first, made)

    return EventStream(events(), lambda status: request.scope["state"].update(status=status))


async def _close(first: asyncio.Future[T], made: AsyncGenerator[T, None]) -> None:
    first.cancel()
    await asyncio.wait({first})
    await made.aclose()


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


Handler = Callable[[Request], Awaitable[Response]]
