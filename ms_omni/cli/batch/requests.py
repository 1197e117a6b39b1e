"""The format of OpenAI's batch files: a chat request a line, answered as its API answers, status and all.

Input and output as https://platform.openai.com/docs/api-reference/batch/request-input and .../request-output have
them. A request that is refused has the status and the body that the API gives, in `response`, and `error` is null: so
are the files that OpenAI returns (https://github.com/openai/openai-openapi/issues/302)."""

from __future__ import annotations

import base64
import copy
import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from ms_omni.answer_parts import opens_reasoning
from ms_omni.cli.batch.item import MAX_NAME_BYTES, Answer, Item, one_line
from ms_omni.cli.voices import Voices
from ms_omni.errors import OmniError
from ms_omni.files import write_bytes
from ms_omni.options import Options
from ms_omni.server.chat import ChatAnswer
from ms_omni.server.engine_input import EngineInput, engine_input
from ms_omni.server.errors import ApiError, api_error
from ms_omni.server.schema import BatchLine, ChatRequest, parsed, served_model

if TYPE_CHECKING:
    from ms_omni.engine import OmniEngine
    from ms_omni.outputs import OmniOutput


@dataclass(frozen=True, kw_only=True)
class RequestItem(Item):
    """asked: None where the request is refused. model: its name in the answer. is_inline: results.jsonl holds the
    wave itself, in base64, not the path of its file."""

    body: dict[str, Any]
    asked: EngineInput | None = None
    model: str = ""
    is_inline: bool = False

    @property
    def name(self) -> str:
        """Of the id, what a file name cannot have as %XX; a digest for one that is too long."""
        name = "".join(_quoted(char, index == 0) for index, char in enumerate(self.id))
        return name if len(name.encode()) <= MAX_NAME_BYTES else hashlib.sha256(self.id.encode()).hexdigest()

    @property
    def wave(self) -> str:
        """Ends with the format that the request asks for."""
        kind = self.asked.audio_format if self.asked else "wav"
        return f"{self.name}.{'pcm' if kind == 'pcm16' else kind}"

    def _digested(self) -> dict[str, Any]:
        rest = {key: value for key, value in self.body.items() if key != "messages"}  # which are the conversation
        return {**super()._digested(), "body": rest}

    def answer(self, output: OmniOutput, engine: OmniEngine, directory: Path) -> Answer:
        """Its wave goes into a file in any case, so that an interrupted batch goes on with it."""
        assert self.asked is not None
        body = ChatAnswer(self.asked, self.model, opens_reasoning(engine.processor)).whole(output)
        wave, audio = None, _audio_of(body)
        if audio is not None:
            wave = self.wave
            write_bytes(directory / wave, [base64.b64decode(audio["data"])])
            audio.update(data="", path=str(directory / wave))
        return Answer(self._line(200, body), output.usage.completion_tokens, wave=wave)

    def failure(self, error: Exception) -> Answer:
        """The API's status and body for this error."""
        known = api_error(error)
        reason = known.message if known.status < 500 else one_line(error)
        return Answer(self._line(known.status, known.body), failure=" ".join(reason.split()))

    def final_line(self, answer: Answer, directory: Path) -> dict[str, Any]:
        """With the wave in base64, if it is to be inline. Raises OmniError where the wave cannot be read."""
        if answer.wave is None or not self.is_inline:
            return answer.line
        line = copy.deepcopy(answer.line)
        audio = _audio_of(line["response"]["body"])
        assert audio is not None
        del audio["path"]
        path = directory / answer.wave
        try:
            audio["data"] = base64.b64encode(path.read_bytes()).decode()
        except OSError as error:
            raise OmniError(f"--out {path}: cannot be read ({error.strerror})") from error
        return line

    def _line(self, status: int, body: dict[str, Any]) -> dict[str, Any]:
        response = {"status_code": status, "request_id": uuid4().hex, "body": body}
        return {"id": f"batch_req_{uuid4().hex}", "custom_id": self.id, "response": response, "error": None}


@dataclass(frozen=True)
class RequestLines:
    """How lines are read. defaults: options where a body is silent. model_names: what a body may call the model; the
    first is the name in answers to bodies that name none."""

    defaults: Options
    voices: Voices
    model_names: tuple[str, ...]
    is_inline: bool

    def item(self, data: dict[str, Any], number: int, where: str) -> RequestItem:
        """A request that the API would refuse is an item with a refusal. Raises OmniError for what is no request."""
        try:
            line = parsed(BatchLine, data)
        except ApiError as error:
            raise OmniError(f"{where}: {error}") from None
        common: Any = {"id": line.custom_id, "where": where, "body": line.body, "is_inline": self.is_inline}
        try:
            request = parsed(ChatRequest, line.body)
            model, asked = served_model(request.model, self.model_names), self._question(request)
        except (ApiError, OmniError) as error:
            return RequestItem(**common, conversation=[], options={}, refusal=error)
        return RequestItem(**common, conversation=asked.conversation, options=asked.options, asked=asked, model=model)

    def _question(self, request: ChatRequest) -> EngineInput:
        if request.stream:
            words = "stream: a batch file has whole answers; expected false"
            raise ApiError(400, words, param="stream", code="invalid_value")
        asked = engine_input(request)
        options = self._with_defaults(asked.options, request)
        if options["return_audio"] and not self.defaults["return_audio"]:  # else --speak is to blame
            self.voices.check_speech("modalities")
        if options["return_audio"] and options["speaker"] is not None:
            self.voices.check_speaker(options["speaker"], "--speaker")
        return replace(asked, options=options)

    def _with_defaults(self, given: Options, request: ChatRequest) -> Options:
        media, flags = request.mm_processor_kwargs, self.defaults
        sampling, unset = given["sampling"], flags["sampling"]
        assert sampling is not None and unset is not None
        set_here = {key: value for key, value in asdict(sampling).items() if value is not None}
        if "ignore_eos" not in request.model_fields_set:
            del set_here["ignore_eos"]
        says_media = media.model_fields_set if media else set()
        return {
            **given,
            "return_audio": given["return_audio"] if request.says_how_to_answer else flags["return_audio"],
            "speaker": given["speaker"] or flags["speaker"],
            "use_audio_in_video": (given if "use_audio_in_video" in says_media else flags)["use_audio_in_video"],
            "fps": flags["fps"] if given["fps"] is None else given["fps"],
            "sampling": replace(unset, **set_here),
        }


def _audio_of(body: dict[str, Any]) -> dict[str, Any] | None:
    return body["choices"][0]["message"].get("audio")


def _quoted(char: str, is_first: bool) -> str:
    if char in "/%" or not char.isprintable():
        return quote(char, safe="")
    return "%2E" if is_first and char == "." else char
