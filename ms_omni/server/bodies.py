"""Reads request bodies of limited size and duration, as JSON or as a form."""

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

# Seconds for receiving a body, and how many of the largest may be received at once
BODY_S = 300.0
BODIES_AT_ONCE = 4
# Bytes from which JSON is parsed on another thread; for smaller bodies that would cost more than it saves
LARGE = 1 << 16


class Bodies:
    """Reads bodies of at most `limit` bytes within BODY_S; all that are received at the same time may together have
    BODIES_AT_ONCE times as many bytes, so that uploads cannot fill the memory. All methods raise ApiError 408, 413,
    429, and 499 for a client that disconnects."""

    def __init__(self, limit: int):
        self._limit, self._all, self._size = limit, BODIES_AT_ONCE * limit, 0

    async def read(self, request: Request) -> bytes:
        """The raw bytes."""
        with self._limited(request) as limited:
            return await limited.body()

    async def read_json(self, request: Request) -> tuple[Any, int]:
        """(the parsed body, its number of bytes). Also raises ApiError 400 and 415."""
        _check_content_type(request, "application/json")
        body = await self.read(request)
        if len(body) < LARGE:
            return _loads(body), len(body)
        return await asyncio.to_thread(_loads, body), len(body)

    async def read_form(self, request: Request, max_fields: int) -> FormData:
        """A form, multipart/form-data, with at most one file, which is stored on disk if it is large. The caller closes
        it. Also raises ApiError 400 and 415."""
        _check_content_type(request, "multipart/form-data")
        try:
            with self._limited(request) as limited:
                return await limited.form(max_files=1, max_fields=max_fields)
        except HTTPException as error:
            raise ApiError(400, f"the form cannot be read: {error.detail}", code="invalid_form") from None

    @contextmanager
    def _limited(self, request: Request) -> Iterator[Request]:
        """The request, reading whose body raises when it exceeds the limits."""
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
