"""API keys, request ids, and one log line for every request: ids, times and outcomes, never contents."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sys
import time
from collections.abc import Callable, MutableMapping, Sequence
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ms_omni.server.errors import ApiError

# The request id in answers; an id that the client sent is kept
ID_HEADER = "x-request-id"
_IS_ID = re.compile(rb"[\x21-\x7e]{1,128}")
# Paths that need a key; the server's state is public
_GUARDED = "/v1/"
# Polled every few seconds by monitoring
_NOT_LOGGED = ("/health", "/metrics")


class ApiKeys:
    """The keys of which clients must send one; without keys, everybody may ask."""

    def __init__(self, keys: Sequence[str]):
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def refuses(self, scope: Scope) -> JSONResponse | None:
        """The answer 401, or None for a request with a valid key. Comparisons take the same time for every key."""
        if not self._digests or not scope["path"].startswith(_GUARDED):
            return None
        kind, _, key = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        fits = [hmac.compare_digest(digest, known) for known in self._digests]
        if any(fits) and kind.lower() == b"bearer":
            return None
        message = "no valid API key: expected the header 'Authorization: Bearer KEY'"
        error = ApiError(401, message, code="invalid_api_key")
        return JSONResponse(error.body, error.status, {"WWW-Authenticate": "Bearer"})


class Access:
    """ASGI middleware: request ids, API keys, the access log."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, note: Callable[[str, int], object]):
        """note: called with the route and status of every request."""
        self._app, self._keys, self._note = app, keys, note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request as ASGI has it: everything that is not HTTP is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 499
        given = dict(scope["headers"]).get(ID_HEADER.encode(), b"")
        name = given if _IS_ID.fullmatch(given) else uuid4().hex.encode()
        scope.setdefault("state", {})["request_id"] = name.decode()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (ID_HEADER.encode(), name)]
            await send(message)

        try:
            await (self._keys.refuses(scope) or self._app)(scope, receive, send_with_id)
        except Exception:
            status = 500
            raise
        finally:
            # The route, since a path may hold anything; a stream that has failed has a status of its own
            route = scope["state"].get("route", "-")
            status = scope["state"].get("status", status)
            self._note(route, status)
            if route not in _NOT_LOGGED:
                _log(scope, name.decode(), route, status, time.monotonic() - start)


def _log(scope: MutableMapping[str, Any], name: str, route: str, status: int, seconds: float) -> None:
    client = scope.get("client")
    line = {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "id": name,
        "client": client[0] if client else None,
        "method": scope["method"],
        "route": route,
        "status": status,
        "seconds": round(seconds, 3),
        **scope["state"].get("log", {}),
    }
    sys.stderr.write(f"{json.dumps(line)}\n")  # one call, so that lines of threads do not mix
    sys.stderr.flush()
