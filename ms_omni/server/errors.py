"""Errors as OpenAI's API writes them: {"error": {"message", "type", "param", "code"}} and an HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.scheduling.request import EngineStopped, RequestCancelled

# The client went away (nginx's number): nobody reads the answer, but the log and the metrics count it
CLIENT_CLOSED = 499

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """What a request ends with. param: the field that is wrong. code: a word for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def api_error(error: BaseException) -> ApiError:
    """For whatever an engine or a reader raises. Of an internal error the client learns no details."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, EngineStopped):
        return ApiError(503, "the engine has stopped; try again when the server is back", code="engine_stopped")
    if isinstance(error, OmniError):
        return ApiError(400, str(error), code="invalid_request")
    if isinstance(error, RequestCancelled):
        return ApiError(CLIENT_CLOSED, "the request was cancelled", code="cancelled")
    if isinstance(error, TimeoutError):
        return ApiError(504, str(error) or "no answer in time", code="timeout")
    return ApiError(500, "internal error", code="internal_error")
