"""What HTTP adds: clients that go away, bodies without end, events that keep a connection alive."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ms_omni.server.errors import CLIENT_CLOSED, ApiError

KEEP_ALIVE_S = 15.0
# How long an error can still become a status: then the stream begins, and tells of errors itself
FIRST_EVENT_S = 10.0
# For a request to come, and how many of the largest may come at once
BODY_S = 300.0
BODIES_AT_ONCE = 4
LAST_EVENT = b"data: [DONE]\n\n"

T = TypeVar("T")


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; it is cancelled when the client closes the connection. Raises ApiError 499 then."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ApiError(CLIENT_CLOSED, "the client closed the connection", code="client_closed")
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Bodies:
    """Reads the bodies of requests, each of a limited size and within a limited time, and all together of a limited
    size, so that uploads cannot fill the memory."""

    def __init__(self, limit: int):
        self._limit, self._all, self._size = limit, BODIES_AT_ONCE * limit, 0

    async def read(self, request: Request) -> bytes:
        """Raises ApiError 408, 413, 429."""
        taken, chunks = 0, list[bytes]()
        try:
            length = request.headers.get("content-length", "")
            if length.isdigit() and int(length) > self._limit:
                raise self._too_large()
            deadline, stream = time.monotonic() + BODY_S, request.stream()
            while True:
                try:
                    chunk = await asyncio.wait_for(_next(stream), max(0.0, deadline - time.monotonic()))
                except StopAsyncIteration:
                    return b"".join(chunks)
                except asyncio.TimeoutError:
                    raise ApiError(408, f"the request took more than {BODY_S:g} s to come") from None
                taken += len(chunk)
                self._size += len(chunk)
                if taken > self._limit:
                    raise self._too_large()
                if self._size > self._all:
                    raise ApiError(429, "too much is being sent at once", headers={"Retry-After": "5"})
                chunks.append(chunk)
        finally:
            self._size -= taken

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the request is larger than {self._limit} bytes", code="request_too_large")


async def read_json(request: Request, bodies: Bodies) -> Any:
    """Raises ApiError 400, 415, and as `Bodies.read`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"content-type {kind[:80]!r}: expected application/json", code="unsupported_media_type")
    body = await bodies.read(request)
    return await asyncio.to_thread(_loads, body)


def _loads(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
        raise ApiError(400, f"the body is not valid JSON ({reason})", code="invalid_json") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


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
