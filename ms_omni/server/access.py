"""Who may ask, and one line of log for every request: ids, times and outcomes, never contents."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ms_omni.server.errors import ApiError

# Told to clients in this header; one that a client sends is kept
ID_HEADER = "x-request-id"
_IS_ID = re.compile(rb"[\x21-\x7e]{1,128}")
# Beneath this everybody needs a key: states of the server are no secrets
_GUARDED = "/v1/"
# Asked every few seconds by those who watch
_NOT_LOGGED = ("/health", "/metrics")


class Access:
    """ASGI middleware: request ids, API keys, the access log."""

    def __init__(self, app: ASGIApp, api_keys: tuple[str, ...], note: Callable[[str, int], object]):
        """note: told route and status of every request."""
        self._app, self._note = app, note
        self._keys = [_digest(key) for key in api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 499
        headers = dict(scope["headers"])
        given = headers.get(ID_HEADER.encode(), b"")
        name = given if _IS_ID.fullmatch(given) else uuid4().hex.encode()
        scope.setdefault("state", {})["request_id"] = name.decode()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (ID_HEADER.encode(), name)]
            await send(message)

        try:
            if scope["path"].startswith(_GUARDED) and not self._may_ask(headers.get(b"authorization", b"")):
                await _refusal()(scope, receive, send_with_id)
            else:
                await self._app(scope, receive, send_with_id)
        except Exception:
            status = 500
            raise
        finally:
            # The route, not the path, which may hold anything; where the stream has ended otherwise, its own status
            route = scope["state"].get("route", "-")
            status = scope["state"].get("status", status)
            self._note(route, status)
            if route not in _NOT_LOGGED:
                _log(scope, name.decode(), route, status, time.monotonic() - start)

    def _may_ask(self, authorization: bytes) -> bool:
        """Compared with every key, each in the same time, whatever they have in common."""
        kind, _, key = authorization.partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        fits = [hmac.compare_digest(digest, known) for known in self._keys]
        return not self._keys or (any(fits) and kind.lower() == b"bearer")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _refusal() -> JSONResponse:
    error = ApiError(401, "no valid API key: expected the header 'Authorization: Bearer KEY'", code="invalid_api_key")
    return JSONResponse(error.body, error.status, {"WWW-Authenticate": "Bearer"})


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
    print(json.dumps(line), file=sys.stderr, flush=True)
