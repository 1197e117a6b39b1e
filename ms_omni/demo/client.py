"""The page's client of OpenAI's protocol: a server's state, and its streamed answers."""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx

# An answer may be queued for long; servers send something in between to keep the connection alive
READ_TIMEOUT_S = 600.0
STATE_TIMEOUT_S = 5.0


class ServerError(Exception):
    """A message for the user of the page in place of an answer."""


@dataclass(frozen=True)
class ServerState:
    """problem: why no question can be asked now, or "". model: the name for requests; None if the server names none.
    voices: its speakers; None if it does not list them, () if it cannot speak."""

    problem: str = ""
    model: str | None = None
    voices: tuple[str, ...] | None = None

    @property
    def captions(self) -> bool:
        """Whether the model only describes sounds. Only its name tells: the released Captioner and Thinking checkpoints
        have the same config.json."""
        return "captioner" in (self.model or "").lower()


@dataclass(frozen=True)
class Delta:
    """A piece of an answer. pcm: 16-bit samples, little-endian, mono, 24 kHz. finish: why the answer has ended."""

    text: str = ""
    reasoning: str = ""
    pcm: bytes = b""
    finish: str = ""

    def __add__(self, other: Delta) -> Delta:
        return Delta(
            self.text + other.text,
            self.reasoning + other.reasoning,
            self.pcm + other.pcm,
            other.finish or self.finish,
        )


class Client:
    """The client of one server."""

    def __init__(self, server: str, api_key: str | None = None):
        """server: its URL, with or without /v1."""
        self.server = server.rstrip("/").removesuffix("/v1")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def _http(self, timeout: httpx.Timeout) -> httpx.AsyncClient:
        # A proxy of the environment cannot reach this machine's loopback addresses
        return httpx.AsyncClient(
            base_url=self.server, headers=self._headers, timeout=timeout, trust_env=not _is_loopback(self.server)
        )

    async def state(self) -> ServerState:
        """Never raises; errors become `problem`."""
        async with self._http(httpx.Timeout(STATE_TIMEOUT_S)) as http:
            try:
                health = await http.get("/health")
                if health.status_code == 503:
                    return ServerState("The model is being loaded, or the server is about to end.")
                models = await http.get("/v1/models")
                if models.status_code != 200:
                    return ServerState(_message_of(models.status_code, models.content, models.headers))
                model = _first_model(models.content)
                voices = await http.get("/v1/audio/voices")
            except httpx.HTTPError as error:
                return ServerState(self._no_connection(error))
        return ServerState(model=model, voices=_voices(voices.content) if voices.status_code == 200 else None)

    async def ask(self, body: bytes) -> AsyncGenerator[Delta, None]:
        """The answer to a chat request that asks for a stream. Closing the generator closes the connection, which
        cancels the request. Raises ServerError."""
        timeout = httpx.Timeout(STATE_TIMEOUT_S, read=READ_TIMEOUT_S, write=READ_TIMEOUT_S)
        headers = {"Content-Type": "application/json"}
        try:
            async with (
                self._http(timeout) as http,
                http.stream("POST", "/v1/chat/completions", content=body, headers=headers) as response,
            ):
                if response.status_code != 200:
                    raise ServerError(_message_of(response.status_code, await response.aread(), response.headers))
                ended = False
                async for line in response.aiter_lines():
                    data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                    ended = ended or data == "[DONE]"
                    if data and not ended:
                        yield _delta(data)
                if not ended:
                    raise ServerError("The server ended the connection before the end of its answer.")
        except httpx.HTTPError as error:
            raise ServerError(self._no_connection(error)) from error

    def _no_connection(self, error: Exception) -> str:
        if isinstance(error, httpx.ConnectError):
            return f"No server answers at {self.server}."
        if isinstance(error, httpx.TimeoutException):
            return f"The server at {self.server} did not answer in time."
        return f"The connection to {self.server} broke ({str(error) or type(error).__name__})."


def _is_loopback(server: str) -> bool:
    host = httpx.URL(server).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _loads(data: bytes | str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _first_model(data: bytes) -> str | None:
    models = _loads(data).get("data") or [{}]
    return models[0].get("id")


def _voices(data: bytes) -> tuple[str, ...]:
    listed = _loads(data).get("voices") or []
    return tuple(voice if isinstance(voice, str) else str(voice.get("name")) for voice in listed)


def _message_of(status: int, body: bytes, headers: httpx.Headers) -> str:
    """An error for people: the server's message, and what to do about it if that is known."""
    error = _loads(body).get("error")
    message = (error.get("message") if isinstance(error, dict) else error) or f"HTTP status {status}"
    if status == 401:
        return f"The server wants another API key: start the page with --api-key ({message})."
    if status == 429:
        wait = headers.get("retry-after")
        return f"The server is busy: try again{f' in {wait} s' if wait else ' soon'} ({message})."
    if status == 413:
        return f"The files are too large for the server ({message})."
    return f"The server cannot answer this: {message}."


def _delta(data: str) -> Delta:
    event = _loads(data)
    if error := event.get("error"):
        message = error.get("message") if isinstance(error, dict) else error
        raise ServerError(f"The answer broke off: {message}.")
    text = reasoning = finish = ""
    pcm = b""
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or {}
        text += delta.get("content") or ""
        reasoning += delta.get("reasoning_content") or ""
        pcm += base64.b64decode((delta.get("audio") or {}).get("data") or "")
        finish = choice.get("finish_reason") or finish
    return Delta(text, reasoning, pcm, finish)
