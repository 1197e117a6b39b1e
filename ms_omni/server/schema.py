"""The body of a chat request. Unsupported fields that would change the answer are refused, not ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ms_omni.errors import did_you_mean
from ms_omni.server.errors import ApiError

MAX_STOP_TEXTS = 16
AudioFormat = Literal["wav", "pcm16", "flac", "mp3", "opus"]
Model = TypeVar("Model", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AudioOptions(_Body):
    """voice: a speaker of the checkpoint. format: of the answer's wave; a stream has raw samples."""

    voice: str | None = None
    format: AudioFormat = "wav"


class StreamOptions(_Body):
    """What a stream contains beside the answer."""

    include_usage: bool = False
    include_obfuscation: bool = False
    continuous_usage_stats: Literal[False] = False


class ProcessorOptions(_Body):
    """How media are read; the fields mean the same as the command line's flags."""

    use_audio_in_video: bool = False
    fps: Annotated[float, Field(gt=0)] | None = None
    min_pixels: Annotated[int, Field(gt=0)] | None = None
    max_pixels: Annotated[int, Field(gt=0)] | None = None


class TalkerOptions(_Body):
    """Sampling of speech; None means the checkpoint's value, then transformers' default."""

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None


class ResponseFormat(_Body):
    """Plain text is the only format."""

    type: Literal["text"] = "text"


class ChatRequest(_Body):
    """POST /v1/chat/completions, and the body of a line of a batch file. docs/server.md describes the fields."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    model: str | None = None
    modalities: Annotated[list[Literal["text", "audio"]], Field(min_length=1)] | None = None
    audio: AudioOptions | None = None
    speaker: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: Annotated[list[str], Field(max_length=MAX_STOP_TEXTS)] = []
    ignore_eos: bool = False
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: Literal[True] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    mm_processor_kwargs: ProcessorOptions | None = None
    talker: TalkerOptions | None = None
    # Accepted with the values that change nothing
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    top_logprobs: Literal[0] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=0)] | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    response_format: ResponseFormat | None = None
    store: Literal[False] | None = None
    # About the caller; ignored
    user: str | None = None
    metadata: dict[str, Any] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _as_list(cls, stop: Any) -> Any:
        return [stop] if isinstance(stop, str) else stop or []

    @property
    def speaks(self) -> bool:
        """Whether speech is requested: by `modalities`, or without them by any setting of speech."""
        if self.modalities is not None:
            return "audio" in self.modalities
        return self.audio is not None or self.speaker is not None

    @property
    def says_how_to_answer(self) -> bool:
        """Whether it says explicitly if the answer is spoken."""
        return self.modalities is not None or self.speaks


class BatchLine(_Body):
    """A line of a batch file; `body` is checked when the line is answered."""

    custom_id: Annotated[str, Field(min_length=1)]
    method: Literal["POST"]
    url: Literal["/v1/chat/completions"]
    body: dict[str, Any]


def served_model(name: str | None, served: Sequence[str]) -> str:
    """The model's name for the answer. Raises ApiError 404 for a model that is not among `served`."""
    if name is not None and name not in served:
        known = ", ".join(served)
        raise ApiError(
            404, f"the model {name[:100]!r} is not served here; expected {known}", param="model", code="model_not_found"
        )
    return name or served[0]


def parsed(kind: type[Model], body: Any) -> Model:
    """`body` as a request of this kind. Raises ApiError 400 that names the field."""
    if not isinstance(body, dict):
        raise ApiError(400, f"expected a JSON object, got {type(body).__name__}", code="invalid_request")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise _refusal(kind, error) from None


def _refusal(kind: type[BaseModel], error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False)[0]
    place = [str(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-"))]
    param = ".".join(place)[:200]
    if first["type"] == "extra_forbidden":
        guess = did_you_mean(place[-1], kind.model_fields) if len(place) == 1 else ""
        return ApiError(400, f"unknown field {param!r}{guess}", param=param, code="unknown_parameter")
    return ApiError(400, f"{param}: {first['msg']}", param=param or None, code="invalid_value")
