"""A transcript that grows window by window, and the forms in which OpenAI's API gives it."""

from __future__ import annotations

import unicodedata
import zlib
from dataclasses import dataclass
from typing import Any, Literal

from ms_omni.answer_parts import AnswerParts
from ms_omni.outputs import OmniOutput, StreamChunk, StreamEnd, TextDelta

Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
MEDIA_TYPES: dict[Format, str] = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}


@dataclass
class Segment:
    """What was said in one window. start, end: seconds. output: None until the answer is whole."""

    start: float
    end: float
    text: str = ""
    output: OmniOutput | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the answer has reached its maximum of tokens before its end."""
        return self.output is not None and self.output.finish_reason == "length"


class Transcript:
    """reasons: the prompt has opened the model's reasoning, which is left out. duration: seconds of the recording."""

    def __init__(self, reasons: bool = False):
        self.text, self.segments, self.duration = "", list[Segment](), 0.0
        self._reasons = reasons
        self._space = ""  # behind what was said: known to belong to the text when more of the window comes

    def put(self, span: tuple[float, float], chunk: StreamChunk) -> str:
        """A piece of the answer to a window, all of one window before the next. What the text grows by."""
        if not self.segments or self.segments[-1].output is not None:
            self.segments.append(Segment(*span))
            self._parts, self._space = AnswerParts(self._reasons, has_tools=False), ""
        if isinstance(chunk, StreamEnd):
            grown = self._grow("", is_last=True)
            self.segments[-1].output = chunk.output
            return grown
        return self._grow(chunk.text) if isinstance(chunk, TextDelta) else ""

    def _grow(self, text: str, is_last: bool = False) -> str:
        segment = self.segments[-1]
        said = "".join(part.text for part in self._parts.put(text, is_last) if part.kind == "content")
        said = self._space + said if segment.text else said.lstrip()
        kept = said.rstrip()
        self._space = said[len(kept) :]
        joint = "" if segment.text else _joint(self.text, kept)
        segment.text += kept
        self.text += joint + kept
        return joint + kept

    @property
    def usage(self) -> dict[str, Any]:
        """Tokens of all windows together."""
        usages = [segment.output.usage for segment in self.segments if segment.output]
        read, heard = sum(usage.prompt_tokens for usage in usages), sum(usage.audio_tokens for usage in usages)
        written = sum(usage.completion_tokens for usage in usages)
        return {
            "type": "tokens",
            "input_tokens": read,
            "input_token_details": {"audio_tokens": heard, "text_tokens": read - heard},
            "output_tokens": written,
            "total_tokens": read + written,
        }

    @property
    def incomplete(self) -> dict[str, Any]:
        """Where text is missing, which OpenAI's API has no word for: nothing where none is."""
        spans = [{"start": segment.start, "end": segment.end} for segment in self.segments if segment.is_cut]
        return {"incomplete": spans} if spans else {}

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, "usage": self.usage, **self.incomplete}

    def as_verbose_json(self, task: str, language: str | None, temperature: float | None) -> dict[str, Any]:
        """language: as the caller has named it. What the model does not tell is null."""
        return {
            "task": task,
            "language": language,
            "duration": round(self.duration, 3),
            "text": self.text,
            "segments": [
                {
                    "id": index,
                    "seek": round(segment.start * 100),  # in frames of 10 ms
                    "start": round(segment.start, 3),
                    "end": round(segment.end, 3),
                    "text": segment.text,
                    "tokens": list(segment.output.token_ids) if segment.output else [],
                    "temperature": temperature,
                    "avg_logprob": None,
                    "compression_ratio": _compression(segment.text),
                    "no_speech_prob": None,
                }
                for index, segment in enumerate(self.segments)
            ],
            "usage": {"type": "duration", "seconds": round(self.duration, 3)},
            **self.incomplete,
        }

    def as_text(self, kind: Literal["text", "srt", "vtt"]) -> str:
        if kind == "text":
            return self.text
        said = [segment for segment in self.segments if segment.text]
        if kind == "srt":
            return "".join(f"{number}\n{_cue(segment, ',')}\n\n" for number, segment in enumerate(said, 1))
        return "WEBVTT\n\n" + "".join(f"{_cue(segment, '.', escapes=True)}\n\n" for segment in said)


def _joint(before: str, behind: str) -> str:
    """Between the texts of two windows: a space, unless both are of a script that writes none between its words."""
    if not before or not behind:
        return ""
    return "" if _is_wide(before[-1]) and _is_wide(behind[0]) else " "


def _is_wide(char: str) -> bool:
    """Chinese and Japanese, their punctuation too; Korean has spaces."""
    return unicodedata.east_asian_width(char) in "WF" and not unicodedata.name(char, "").startswith("HANGUL")


def _compression(text: str) -> float:
    """As Whisper has it: a text that repeats itself has a high one."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def _cue(segment: Segment, point: str, escapes: bool = False) -> str:
    text = " ".join(segment.text.split())
    if escapes:
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{_clock(segment.start, point)} --> {_clock(segment.end, point)}\n{text}"


def _clock(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
