"""The form of a request about a recording. Unsupported fields that would change the answer are refused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.datastructures import FormData, UploadFile
from typing_extensions import override

from ms_omni.errors import OmniError, did_you_mean
from ms_omni.recordings.transcript import Format
from ms_omni.server.errors import ApiError
from ms_omni.server.schema import parsed
from ms_omni.tasks.languages import language_name
from ms_omni.tasks.table import get_task

# Far more than the known fields
MAX_FIELDS = 32
MAX_PROMPT_CHARS = 10_000
_FILE = "file"


class RecordingForm(BaseModel, ABC):
    """Fields of both tasks; docs/transcription.md describes them."""

    model_config = ConfigDict(extra="forbid")
    task: ClassVar[str]

    model: str | None = None
    language: str | None = None
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARS)] | None = None
    response_format: Format = "json"
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is sent as events while it is made."""
        return False

    @property
    def language_name(self) -> str | None:
        """The language's name as in the model's documentation. Raises ApiError."""
        try:
            return language_name(self.language) if self.language else None
        except OmniError as error:
            raise refused("language", str(error)) from None

    @property
    @abstractmethod
    def question(self) -> str:
        """The prompt for each window."""

    @property
    def language_of_text(self) -> str | None:
        """Language of the answer in OpenAI's form; None if unknown."""
        return self.language_name.lower() if self.language_name else None

    def check(self) -> None:
        """Checks that the fields go together. Raises ApiError."""
        _ = self.question


class TranscriptionForm(RecordingForm):
    """POST /v1/audio/transcriptions."""

    task = "transcribe"

    stream: bool = False
    timestamp_granularities: list[Literal["segment"]] = Field(default=[], alias="timestamp_granularities[]")
    # Accepted with the values that change nothing
    chunking_strategy: Literal["auto"] | None = None
    include: Annotated[list[str], Field(max_length=0)] = Field(default=[], alias="include[]")

    @field_validator("timestamp_granularities", mode="before")
    @classmethod
    def _check_granularities(cls, value: Any) -> Any:
        if isinstance(value, list) and "word" in value:
            raise ValueError("the model gives no times of words; expected segment, or no such field")
        return value

    @property
    @override
    def streams(self) -> bool:
        return self.stream

    @property
    @override
    def question(self) -> str:
        return get_task("speech-recognition").prompt(self.language_name)

    @override
    def check(self) -> None:
        super().check()
        given = self.response_format
        if self.stream and given not in ("json", "text"):
            words = "a stream gives text without times; expected json or text"
            raise refused("response_format", f"response_format: {words}, got {given}")
        if self.timestamp_granularities and given != "verbose_json":
            name = "timestamp_granularities[]"
            raise refused(name, f"{name}: expected response_format verbose_json, got {given}")


class TranslationForm(RecordingForm):
    """POST /v1/audio/translations. language: of the recording, a field that OpenAI's API lacks."""

    task = "translate"

    @property
    @override
    def question(self) -> str:
        return get_task("speech-translation").prompt(self.language_name)

    @property
    @override
    def language_of_text(self) -> str | None:
        return "english"


Form = TypeVar("Form", bound=RecordingForm)


def recording_form(kind: type[Form], data: FormData) -> tuple[Form, UploadFile]:
    """(the checked fields, the file). Empty fields count as missing. Raises ApiError 400 that names the field."""
    file: UploadFile | None = None
    fields: dict[str, Any] = {}
    for name, value in data.multi_items():
        if isinstance(value, UploadFile):
            if name != _FILE:
                raise refused(name, f"unknown file {name[:100]!r}{did_you_mean(name, [_FILE])}; expected {_FILE!r}")
            file = value
        elif name == _FILE:
            raise refused(name, "file: expected a file with its name, got a text (with curl: -F file=@NAME)")
        elif name.endswith("[]"):
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise refused(name, f"{name[:100]}: given twice")
        elif value:
            fields[name] = value
    form = parsed(kind, fields)
    form.check()
    if file is None:
        raise refused(_FILE, "file: missing; expected the recording", "missing_required_parameter")
    return form, file


def refused(name: str, message: str, code: str = "invalid_value") -> ApiError:
    """An error about the field of this name."""
    return ApiError(400, message, param=name[:100], code=code)
