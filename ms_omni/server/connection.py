"""What HTTP adds: clients that go away, bodies without end, events that keep a connection alive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ms_omni.server.errors import CLIENT_CLOSED, ApiError, api_error

KEEP_ALIVE_S = 15.0
# How long an error can still become a status: then the stream begins, and tells of errors itself
FIRST_EVENT_S = 10.0
_END = b"data: [DONE]\n\n"

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


def limited(request: Request, limit: int) -> Request:
    """The request with a body of at most `limit` bytes: reading more raises ApiError 413, at once where its header says
    so already."""
    too_large = ApiError(413, f"the request is larger than {limit} bytes", code="request_too_large")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise too_large
    size = 0

    async def receive() -> Message:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise too_large
        return message

    return Request(request.scope, receive)


async def read_json(request: Request, limit: int) -> Any:
    """Raises ApiError 400, 413, 415, 499."""
    _check_content_type(request, "application/json")
    try:
        body = await limited(request, limit).body()
    except ClientDisconnect:
        raise client_gone() from None
    return await asyncio.to_thread(_loads, body)


async def read_form(request: Request, limit: int, max_fields: int) -> FormData:
    """Of multipart/form-data with at most one file, which is on disk where it is large. To be closed by the caller.
    Raises ApiError 400, 413, 415, 499."""
    _check_content_type(request, "multipart/form-data")
    try:
        return await limited(request, limit).form(max_files=1, max_fields=max_fields)
    except ClientDisconnect:
        raise client_gone() from None
    except HTTPException as error:
        raise ApiError(400, f"the form cannot be read: {error.detail}", code="invalid_form") from None


def _check_content_type(request: Request, wanted: str) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != wanted:
        raise ApiError(415, f"content-type {kind[:80]!r}: expected {wanted}", code="unsupported_media_type")


def _loads(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
        raise ApiError(400, f"the body is not valid JSON ({reason})", code="invalid_json") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


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
        async for event in with_pauses(self._events, KEEP_ALIVE_S):
            if event is None:
                await put(b": still working\n\n")
                continue
            if "error" in event:
                status = event["error"].pop("status", 500)
            await put(b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n")
        await put(_END)
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
            async for event in events:
                if event is not None:
                    yield event
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
