"""What clients of a launched server talk to: a process that no rank's end takes along. It hands requests on to rank 0,
and answers 503 in its place once the ranks are gone."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ms_omni.server.access import ApiKeys
from ms_omni.server.bodies import Bodies
from ms_omni.server.connection import LAST_EVENT, cancel_if_disconnected, event
from ms_omni.server.errors import ApiError
from ms_omni.server.run import HttpThread
from ms_omni.server.service import ServerSettings

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Of one connection, not of one request (RFC 9110, 7.6.1); lengths and hosts are those of the new one
_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "host", "content-length",
}  # fmt: skip
# The name in URLs of those behind a socket that has none
_RANKS = "http://ranks"


class Proxy:
    """Listens at `listener`, and hands on to the HTTP server at the Unix socket `ranks`."""

    def __init__(self, listener: socket.socket, ranks: Path, settings: ServerSettings):
        self._keys, self._bodies = ApiKeys(settings.api_keys), Bodies(settings.max_body_bytes)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        transport = httpx.AsyncHTTPTransport(uds=str(ranks), limits=limits)
        self._client = httpx.AsyncClient(transport=transport, timeout=None)
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=_METHODS)])
        self._http = HttpThread(app, listener)

    def start(self) -> None:
        """Listens; everything is answered with 503 until the ranks do."""
        self._http.start()

    def close(self) -> None:
        """Gives what is under way a moment to end, and ends all connections."""
        self._http.close()

    async def _answer(self, request: Request) -> Response:
        if refusal := self._keys.refuses(request.scope):
            return refusal
        try:
            body = await self._bodies.read(request)
            return await cancel_if_disconnected(request.receive, self._hand_on(request, body))
        except ApiError as error:
            return JSONResponse(error.body, error.status, error.headers)

    async def _hand_on(self, request: Request, body: bytes) -> Response:
        url = httpx.URL(_RANKS).copy_with(raw_path=request.scope["raw_path"] + _query(request))
        headers = [(key, value) for key, value in request.headers.raw if key.decode() not in _HOP_BY_HOP]
        if request.client:
            headers.append((b"x-forwarded-for", request.client.host.encode()))
        try:
            asked = self._client.build_request(request.method, url, headers=headers, content=body)
            answer = await self._client.send(asked, stream=True)
            is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
            content = None if is_stream else await answer.aread()
        except httpx.TransportError:
            raise _gone() from None
        kept = {key: value for key, value in answer.headers.items() if key not in _HOP_BY_HOP}
        if content is None:
            return StreamingResponse(_events(answer), answer.status_code, kept)
        return Response(content, answer.status_code, kept)


async def _events(answer: httpx.Response) -> AsyncGenerator[bytes, None]:
    """As they come. Where the end does not come, an event says so."""
    try:
        async for data in answer.aiter_raw():
            yield data
    except httpx.TransportError:
        yield event(_gone().body) + LAST_EVENT
    finally:
        await answer.aclose()


def _gone() -> ApiError:
    message = "the model is not loaded, or a process that computes it has ended; try again later"
    return ApiError(503, message, code="engine_stopped", headers={"Retry-After": "5"})


def _query(request: Request) -> bytes:
    query: bytes = request.scope["query_string"]
    return b"?" + query if query else b""
