"""The reverse proxy of a launched server, in a process that survives its ranks. It forwards requests to rank 0, and
answers 503 when the ranks have ended."""

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
# Headers of a connection, not of a request (RFC 9110, 7.6.1); length and host are set anew
_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "host", "content-length",
}  # fmt: skip
# Host name in URLs of rank 0, whose Unix socket has none
_RANKS = "http://ranks"


class Proxy:
    """Listens at `listener`, and forwards to the HTTP server at the Unix socket `ranks`."""

    def __init__(self, listener: socket.socket, ranks: Path, settings: ServerSettings):
        self._keys, self._bodies = ApiKeys(settings.api_keys), Bodies(settings.max_body_bytes)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        transport = httpx.AsyncHTTPTransport(uds=str(ranks), limits=limits)
        self._client = httpx.AsyncClient(transport=transport, timeout=None)
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=_METHODS)])
        self._http = HttpThread(app, listener)

    def start(self) -> None:
        """Begins to listen; answers 503 until rank 0 listens too."""
        self._http.start()

    def close(self) -> None:
        """Gives running requests a moment to end, then closes all connections."""
        self._http.close()

    async def _answer(self, request: Request) -> Response:
        if refusal := self._keys.refuses(request.scope):
            return refusal
        try:
            body = await self._bodies.read(request)
            return await cancel_if_disconnected(request.receive, self._forward(request, body))
        except ApiError as error:
            return JSONResponse(error.body, error.status, error.headers)

    async def _forward(self, request: Request, body: bytes) -> Response:
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
    """The events as they come, and an error event if the stream breaks off."""
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
