"""Bodies of requests: of a limited size, within a limited time, as JSON or as a form."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from ms_omni.server.connection import client_gone
from ms_omni.server.errors import ApiError

# For a request to come, and how many of the largest may come at once
BODY_S = 300.0
BODIES_AT_ONCE = 4
# From so many bytes on JSON is read by another thread, which costs more than a small one takes
LARGE = 1 << 16


class Bodies:
    """Reads bodies, each of at most `limit` bytes and within BODY_S, and all that come at the same time together of at
    most BODIES_AT_ONCE times as much, so that uploads cannot fill the memory. All methods raise ApiError 408, 413, 429,
    and 499 for a client that goes away."""

    def __init__(self, limit: int):
        self._limit, self._all, self._size = limit, BODIES_AT_ONCE * limit, 0

    async def read(self, request: Request) -> bytes:
        """The bytes as they are."""
        with self._limited(request) as limited:
            return await limited.body()

    async def read_json(self, request: Request) -> tuple[Any, int]:
        """What the body says, and its bytes. Raises ApiError 400 and 415, too."""
        _check_content_type(request, "application/json")
        body = await self.read(request)
        if len(body) < LARGE:
            return _loads(body), len(body)
        return await asyncio.to_thread(_loads, body), len(body)

    async def read_form(self, request: Request, max_fields: int) -> FormData:
        """Of multipart/form-data with at most one file, which is on disk where it is large. To be closed by the caller.
        Raises ApiError 400 and 415, too."""
        _check_content_type(request, "multipart/form-data")
        try:
            with self._limited(request) as limited:
                return await limited.form(max_files=1, max_fields=max_fields)
        except HTTPException as error:
            raise ApiError(400, f"the form cannot be read: {error.detail}", code="invalid_form") from None

    @contextmanager
    def _limited(self, request: Request) -> Iterator[Request]:
        """The request, whose body ends with an error where it goes beyond the limits."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._limit:
            raise self._too_large()
        taken, deadline = 0, time.monotonic() + BODY_S

        async def receive() -> Message:
            nonlocal taken
            try:
                message = await asyncio.wait_for(request.receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                raise ApiError(408, f"the request took more than {BODY_S:g} s to come") from None
            size = len(message.get("body", b""))
            taken += size
            self._size += size
            if taken > self._limit:
                raise self._too_large()
            if self._size > self._all:
                raise ApiError(429, "too much is being sent at once", headers={"Retry-After": "5"})
            return message

        try:
            yield Request(request.scope, receive)
        except ClientDisconnect:
            raise client_gone() from None
        finally:
            self._size -= taken

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the request is larger than {self._limit} bytes", code="request_too_large")


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
