"""POST /v1/audio/...: transcribes and translates recordings of any length; explains why speech synthesis is missing."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.inputs.access import MediaAccess
from ms_omni.inputs.audio import SAMPLE_RATE
from ms_omni.inputs.sound_pieces import RecordingTooLong, read_pieces
from ms_omni.inputs.source import Source
from ms_omni.inputs.windows import Window, cut_windows
from ms_omni.options import Options
from ms_omni.outputs import StreamChunk
from ms_omni.recordings.transcript import MEDIA_TYPES, Transcript
from ms_omni.server.ask_windows import ask_windows
from ms_omni.server.connection import cancel_if_disconnected, event_response
from ms_omni.server.errors import ApiError
from ms_omni.server.recording_form import (
    MAX_FIELDS,
    RecordingForm,
    TranscriptionForm,
    TranslationForm,
    recording_form,
    refused,
)
from ms_omni.server.service import Service
from ms_omni.tasks.request import speech_conversation

MAX_RECORDING_S = 4 * 3600.0
# Limits of recordings: longer than other sounds, since they are never whole in memory
_UPLOADS = MediaAccess(restricted=True, max_seconds=2 * MAX_RECORDING_S, max_samples=1 << 40)
# The header for answer formats that cannot say it themselves
INCOMPLETE_HEADER = "x-incomplete-windows"


class Recordings:
    """The audio routes of a service. Windows of all recordings share as many slots as the engine runs conversations, so
    that other requests wait for one window at most."""

    def __init__(self, service: Service):
        self._service = service
        self._turns: asyncio.Semaphore | None = None

    async def transcribe(self, request: Request) -> Response:
        """POST /v1/audio/transcriptions."""
        return await self._answer(request, TranscriptionForm)

    async def translate(self, request: Request) -> Response:
        """POST /v1/audio/translations."""
        return await self._answer(request, TranslationForm)

    async def speak(self, request: Request) -> Response:
        """Always 501: the Talker speaks what the Thinker writes, and the model's documentation has no prompt with which
        the Thinker repeats a text word for word."""
        raise ApiError(
            501,
            "this model speaks its own answers and has no documented way to read a given text aloud; ask "
            '/v1/chat/completions with modalities ["text", "audio"] for a spoken answer',
            code="not_supported",
            headers={"x-should-retry": "false"},  # OpenAI's clients repeat requests that end with 5xx
        )

    async def _answer(self, request: Request, kind: type[RecordingForm]) -> Response:
        service = self._service
        engine = service.ready_engine()
        data = await service.bodies.read_form(request, MAX_FIELDS)
        try:
            form, upload = recording_form(kind, data)
            service.check_model(form.model)
            sampling = SamplingParams(thinker_temperature=form.temperature).resolved(engine.generation_config)
            work = _Work(form, await asyncio.to_thread(_Upload, upload), Transcript(service.reasons), sampling)
        finally:
            await data.close()
        if form.streams:
            return await cancel_if_disconnected(request.receive, event_response(request, self._events(request, work)))
        return await cancel_if_disconnected(request.receive, self._whole(request, work))

    async def _whole(self, request: Request, work: _Work) -> Response:
        async with aclosing(self._deltas(request, work)) as deltas:
            async for _ in deltas:
                pass
        return work.response()

    async def _events(self, request: Request, work: _Work) -> AsyncGenerator[dict[str, Any], None]:
        async with aclosing(self._deltas(request, work)) as deltas:
            async for delta in deltas:
                yield {"type": "transcript.text.delta", "delta": delta}
        yield {"type": "transcript.text.done", **work.transcript.as_json()}

    async def _deltas(self, request: Request, work: _Work) -> AsyncGenerator[str, None]:
        """The text by which the transcript grows, while it grows."""
        transcript, options = work.transcript, work.options
        with self._service.admitted() as engine:
            self._turns = self._turns or asyncio.Semaphore(engine.max_num_seqs)

            def ask(window: Window) -> AsyncGenerator[StreamChunk, None]:
                conversation = speech_conversation(window.samples, work.form.question, work.form.prompt)
                return self._service.ask_within(engine, conversation, options, work.form.streams)

            windows = cut_windows(work.upload.pieces())
            try:
                async with aclosing(ask_windows(windows, ask, self._turns)) as answers:
                    async for span, chunk in answers:
                        if delta := transcript.put(span, chunk):
                            yield delta
            except Exception:  # send held-back text before the error
                if delta := transcript.end():
                    yield delta
                raise
            if delta := transcript.end():
                yield delta
        transcript.duration = work.upload.seconds
        request.scope["state"]["log"] = {
            "recording_seconds": round(transcript.duration, 3),
            "windows": len(transcript.segments),
            "prompt_tokens": transcript.usage["input_tokens"],
            "completion_tokens": transcript.usage["output_tokens"],
        }


@dataclass(frozen=True)
class _Work:
    """One recording that is being transcribed."""

    form: RecordingForm
    upload: _Upload
    transcript: Transcript
    sampling: SamplingParams

    @property
    def options(self) -> Options:
        return {"return_audio": False, "sampling": self.sampling}

    def response(self) -> Response:
        """The answer in the requested format."""
        kind, transcript = self.form.response_format, self.transcript
        if kind == "json":
            return JSONResponse(transcript.as_json())
        if kind == "verbose_json":
            temperature = self.sampling.thinker_temperature
            return JSONResponse(transcript.as_verbose_json(self.form.task, self.form.language_of_text, temperature))
        cut = len(transcript.incomplete.get("incomplete", ()))
        headers = {INCOMPLETE_HEADER: str(cut)} if cut else None
        return Response(transcript.as_text(kind), headers=headers, media_type=MEDIA_TYPES[kind])


class _Upload:
    """An uploaded file in a directory of its own, which is deleted with this object; its content could otherwise refer
    to files beside it. Blocks: not for the event loop."""

    def __init__(self, upload: UploadFile):
        self._directory = TemporaryDirectory(prefix="ms_omni_upload_")
        path = os.path.join(self._directory.name, uuid4().hex)
        with open(path, "xb") as file:
            shutil.copyfileobj(upload.file, file)
            size = file.tell()
        self._source = Source(f"file {(upload.filename or '')[:100]}".strip(), path=path, access=_UPLOADS)
        if not size:
            raise refused("file", str(self._source.fail("is empty (0 bytes)")))
        self.seconds = 0.0

    def pieces(self) -> Iterator[np.ndarray]:
        """The pieces of `read_pieces`; `seconds` counts what was read. Raises ApiError 400 and 413."""
        try:
            for piece in read_pieces(self._source, MAX_RECORDING_S):
                self.seconds += piece.size / SAMPLE_RATE
                yield piece
        except RecordingTooLong as error:
            raise ApiError(413, str(error), param="file", code="recording_too_long") from None
        except OmniError as error:
            raise refused("file", str(error)) from None
