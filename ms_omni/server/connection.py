"""What HTTP adds: clients that go away, and events that keep a connection alive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ms_omni.server.errors import CLIENT_CLOSED, ApiError, api_error

KEEP_ALIVE_S = 15.0
# How long an error can still become a status: then the stream begins, and tells of errors itself
FIRST_EVENT_S = 10.0
LAST_EVENT = b"data: [DONE]\n\n"

T = TypeVar("T")


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; it is cancelled when the client closes the connection. Raises ApiError 499 then."""
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
    return ApiError(CLIENT_CLOSED, "the client closed the connection", code="client_closed")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def event(item: Any) -> bytes:
    """A server-sent event that holds an object as JSON."""
    return b"data: " + json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class EventStream(Response):
    """Server-sent events: each an object as JSON, then [DONE]. An error is told as an event, since the status is out.
    `on_end` gets the status that the request has ended with."""

    def __init__(self, events: AsyncGenerator[dict[str, Any], None], on_end: Callable[[int], object]):
        super().__init__(
            media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        del self.headers["content-length"]
        self._events, self._on_end = events, on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(receive, self._pump(send))
        except ApiError as error:
            self._on_end(error.status)

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

        async def put(data: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        status = 200
        async for item in with_pauses(self._events, KEEP_ALIVE_S):
            if item is None:
                await put(b": still working\n\n")
                continue
            if "error" in item:
                status = item["error"].pop("status", 500)
            await put(event(item))
        await put(LAST_EVENT)
        await put(b"", more=False)
        self._on_end(status)


async def event_response(request: Request, made: AsyncGenerator[dict[str, Any], None]) -> EventStream:
    """The events as they are made. The stream begins with the first of them, or after a while: errors until then are
    raised, and later ones are an event."""
    events = with_pauses(made, FIRST_EVENT_S)
    first = await anext(events)

    async def all_events() -> AsyncGenerator[dict[str, Any], None]:
        try:
            if first is not None:
                yield first
            async for item in events:
                if item is not None:
                    yield item
        except Exception as error:
            known = api_error(error)
            yield {"error": {**known.body["error"], "status": known.status}}
        finally:
            await events.aclose()

    return EventStream(all_events(), lambda status: request.scope["state"].update(status=status))


async def with_pauses(items: AsyncGenerator[T, None], seconds: float) -> AsyncGenerator[T | None, None]:
    """The items, and None whenever none has come for so long. Closes `items` in the end."""
    coming: asyncio.Future[T] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(items))
            await asyncio.wait({coming}, timeout=seconds)
            if not coming.done():
                yield None
                continue
            done, coming = coming, None
            try:
                item = done.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait({coming})
        await items.aclose()


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


Handler = Callable[[Request], Awaitable[Response]]
