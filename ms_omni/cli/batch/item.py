"""A line of the file that `batch` answers, whatever its format: what is asked, and how the answer is written down."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import TYPE_CHECKING, Any, Protocol

from ms_omni.errors import OmniError
from ms_omni.options import Options
from ms_omni.scheduling.request import RequestHandle, StepFailed

if TYPE_CHECKING:
    from ms_omni.engine import OmniEngine
    from ms_omni.outputs import OmniOutput

# The longest file name is 255 bytes almost everywhere; a temporary file's name is an id with 40 bytes around it.
MAX_NAME_BYTES = 200


@dataclass(frozen=True)
class Answer:
    """The answer to a line. line: what results.jsonl holds. num_tokens: of its text. failure: why there is none, in one
    line. wave: the name of its speech's file, beside results.jsonl."""

    line: dict[str, Any]
    num_tokens: int = 0
    failure: str | None = None
    wave: str | None = None


@dataclass(frozen=True, kw_only=True)
class Item(ABC):
    """One line. where: names it in errors. conversation, options: for `OmniEngine.submit`. refusal: why it cannot even
    be asked, where the other lines are answered nevertheless."""

    id: str
    where: str
    conversation: list[dict[str, Any]]
    options: Options
    refusal: Exception | None = None

    @property
    def name(self) -> str:
        """Of its files, without their suffix."""
        return self.id

    @property
    def wave(self) -> str:
        """The name of the file of its speech."""
        return f"{self.name}.wav"

    @property
    def speaks(self) -> bool:
        """Whether an answer in speech is asked for."""
        return bool(self.options.get("return_audio"))

    @property
    def digest(self) -> str:
        """Changes when something else is asked for under the same id."""
        return hashlib.sha256(json.dumps(self._digested(), sort_keys=True).encode()).hexdigest()

    def _digested(self) -> dict[str, Any]:
        """In JSON, without what all lines have in common."""
        of_line = {key: self.options.get(key) for key in ("return_audio", "speaker", "use_audio_in_video")}
        return {"conversation": self.conversation, **of_line}

    def submit(self, engine: OmniEngine, options: Options, slots: Semaphore) -> RequestHandle:
        """Raises OmniError for what is not even taken. slots: how many windows of recordings are asked at a time."""
        return engine.submit(self.conversation, **options)

    @abstractmethod
    def answer(self, output: OmniOutput, engine: OmniEngine, directory: Path) -> Answer:
        """`output` of `engine` in this format; its wave is in `directory` afterwards. Raises OmniError for a full
        disk."""

    @abstractmethod
    def failure(self, error: Exception) -> Answer:
        """What the line gets instead of an answer."""

    def final_line(self, answer: Answer, directory: Path) -> dict[str, Any]:
        """As results.jsonl in `directory` has it."""
        return answer.line


class LineFormat(Protocol):
    """How the lines of a file are written."""

    def item(self, data: dict[str, Any], number: int, where: str) -> Item:
        """Raises OmniError for what is no such line."""
        ...


def one_line(error: Exception) -> str:
    """The error's message; an internal error says that it is one."""
    text = " ".join(str(error).split())
    return text if isinstance(error, (OmniError, StepFailed)) else f"internal error: {type(error).__name__}: {text}"
