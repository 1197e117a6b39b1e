"""The routes of the server."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import AsyncGenerator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ms_omni import __version__
from ms_omni.outputs import AudioChunk, StreamEnd, TextDelta
from ms_omni.server.access import Access, ApiKeys
from ms_omni.server.chat import ChatAnswer
from ms_omni.server.connection import Handler, cancel_if_disconnected, event_response
from ms_omni.server.engine_input import EngineInput, engine_input
from ms_omni.server.errors import ApiError, api_error
from ms_omni.server.recordings import Recordings
from ms_omni.server.schema import ChatRequest, parsed
from ms_omni.server.service import Service


def make_app(service: Service) -> Starlette:
    """The ASGI application of a service."""
    chat, states, recordings = Chat(service), States(service), Recordings(service)
    app = Starlette(
        routes=[
            _route("/v1/chat/completions", chat.answer, "POST"),
            _route("/v1/audio/transcriptions", recordings.transcribe, "POST"),
            _route("/v1/audio/translations", recordings.translate, "POST"),
            _route("/v1/audio/speech", recordings.speak, "POST"),
            _route("/v1/models", states.models),
            _route("/v1/models/{name:path}", states.model),
            _route("/v1/audio/voices", states.voices),
            _route("/health", states.health),
            _route("/metrics", states.metrics),
            _route("/version", states.version),
        ],
        exception_handlers={HTTPException: _as_http_error},
    )
    note = service.metrics.requests
    app.add_middleware(
        Access,
        keys=ApiKeys(service.settings.api_keys),
        note=lambda route, status: note.labels(route, str(status)).inc(),
    )
    return app


def _route(path: str, handler: Handler, method: str = "GET") -> Route:
    async def answer(request: Request) -> Response:
        request.scope["state"]["route"] = path
        try:
            return await handler(request)
        except Exception as error:
            known = api_error(error)
            if known.status == 500:
                name = request.scope["state"]["request_id"]
                print(f"ms-omni: internal error in request {name}:", file=sys.stderr)
                traceback.print_exception(error, file=sys.stderr)
            return JSONResponse(known.body, known.status, known.headers)

    return Route(path, answer, methods=[method])


async def _as_http_error(request: Request, error: Exception) -> Response:
    """The answer to an unknown path or method."""
    assert isinstance(error, HTTPException)
    known = ApiError(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}")
    return JSONResponse(known.body, known.status, error.headers)


class States:
    """Routes about the server's state."""

    def __init__(self, service: Service):
        self._service, self._started = service, int(time.time())

    async def models(self, request: Request) -> Response:
        """GET /v1/models."""
        names = self._service.settings.model_names
        return JSONResponse({"object": "list", "data": [self._model(name) for name in names]})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/NAME: one model, or 404."""
        return JSONResponse(self._model(self._service.check_model(request.path_params["name"])))

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "ms_omni"}

    async def voices(self, request: Request) -> Response:
        """GET /v1/audio/voices: speakers, in vllm-omni's form; none if the model cannot speak."""
        return JSONResponse({"voices": self._service.ready_engine().speakers, "uploaded_voices": []})

    async def health(self, request: Request) -> Response:
        """GET /health: 200 while the engine answers, else 503 with the reason."""
        state = self._service.state
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    async def metrics(self, request: Request) -> Response:
        """GET /metrics, in Prometheus' text format."""
        return Response(self._service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def version(self, request: Request) -> Response:
        """GET /version: of this package."""
        return JSONResponse({"version": __version__})


class Chat:
    """POST /v1/chat/completions."""

    def __init__(self, service: Service):
        self._service = service

    async def answer(self, request: Request) -> Response:
        """The whole answer, or a stream of events where the body asks for one."""
        service = self._service
        service.ready_engine()
        data, num_bytes = await service.bodies.read_json(request)
        body = parsed(ChatRequest, data)
        model = service.check_model(body.model)
        inputs = engine_input(body, lambda name: service.recall(name, time.time()))
        answer = ChatAnswer(inputs, model, service.reasons)
        if inputs.stream:
            events = self._events(request, inputs, answer, num_bytes)
            return await cancel_if_disconnected(request.receive, event_response(request, events))
        return await cancel_if_disconnected(request.receive, self._whole(request, inputs, answer, num_bytes))

    async def _whole(self, request: Request, inputs: EngineInput, answer: ChatAnswer, num_bytes: int) -> Response:
        async for chunk in self._service.ask(inputs.conversation, inputs.options, False, num_bytes):
            if isinstance(chunk, StreamEnd):
                self._note(request, answer, chunk)
                return JSONResponse(answer.whole(chunk.output))
        raise RuntimeError("the engine's stream ended without its result")

    async def _events(
        self, request: Request, inputs: EngineInput, answer: ChatAnswer, num_bytes: int
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a stream."""
        is_first = True
        async for chunk in self._service.ask(inputs.conversation, inputs.options, True, num_bytes):
            if is_first:
                yield answer.first()
                is_first = False
            if isinstance(chunk, TextDelta):
                made = answer.text(chunk)
            elif isinstance(chunk, AudioChunk):
                made = answer.speech(chunk)
            else:
                self._note(request, answer, chunk)
                made = answer.end(chunk.output)
            for event in made:
                yield event

    def _note(self, request: Request, answer: ChatAnswer, end: StreamEnd) -> None:
        output = end.output
        usage = output.usage
        request.scope["state"]["log"] = {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "frames": output.audio.num_frames if output.audio else 0,
            "finish_reason": output.finish_reason,
        }
        if output.audio is not None:
            self._service.remember(answer.audio_id, answer.expires_at, output.text)
