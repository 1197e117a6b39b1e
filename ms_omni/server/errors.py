"""Errors in the form of OpenAI's API: {"error": {"message", "type", "param", "code"}} and an HTTP status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.scheduling.request import EngineStopped, RequestCancelled

# The client disconnected (nginx's number): for the log and the metrics, since nobody reads the answer
CLIENT_CLOSED = 499

# Flags in the engine's messages -> fields of a request
_FIELDS = {
    "--thinker-max-new-tokens": "max_completion_tokens",
    "--thinker-temperature": "temperature",
    "--thinker-top-p": "top_p",
    "--thinker-top-k": "top_k",
    "--thinker-repetition-penalty": "repetition_penalty",
    "--talker-max-new-tokens": "talker.max_new_tokens",
    "--talker-temperature": "talker.temperature",
    "--talker-top-p": "talker.top_p",
    "--talker-top-k": "talker.top_k",
    "--talker-repetition-penalty": "talker.repetition_penalty",
    "--seed": "seed",
    "--speaker": "audio.voice",
    "--min-pixels": "mm_processor_kwargs.min_pixels",
    "--max-pixels": "mm_processor_kwargs.max_pixels",
    "--fps": "mm_processor_kwargs.fps",
}
_FLAG = re.compile(r"--[a-z][a-z-]*[a-z]")

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """Ends a request with this status. param: the field that is wrong. code: the reason, for programs."""

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
        """The JSON document of the answer."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def api_error(error: BaseException) -> ApiError:
    """The error for the client. It gets no details of internal errors."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, EngineStopped):
        return ApiError(503, "the engine has stopped; try again when the server is back", code="engine_stopped")
    if isinstance(error, OmniError):
        return _of_the_user(str(error))
    if isinstance(error, RequestCancelled):
        return ApiError(CLIENT_CLOSED, "the request was cancelled", code="cancelled")
    if isinstance(error, TimeoutError):
        return ApiError(504, str(error) or "no answer in time", code="timeout")
    return ApiError(500, "internal error", code="internal_error")


def _of_the_user(message: str) -> ApiError:
    """Error 400, with field names in place of flags. If the message begins with a field, that is the wrong one."""
    words = _FLAG.sub(lambda flag: _FIELDS.get(flag.group(), flag.group()), message)
    first = words.split(maxsplit=1)[0].rstrip(":") if words else ""
    param = first if first in (*_FIELDS.values(), "messages", "stop", "tools", "chat_template_kwargs") else None
    return ApiError(400, words, param=param, code="invalid_value")
