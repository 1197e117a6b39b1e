"""A transcript that grows window by window, and the formats in which OpenAI's API returns it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ms_omni.answer_parts import AnswerParts
from ms_omni.inputs.windows import Span
from ms_omni.outputs import OmniOutput, StreamChunk, StreamEnd, TextDelta
from ms_omni.recordings.join import is_wide, join, reach, words_of

Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
MEDIA_TYPES: dict[Format, str] = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}


@dataclass
class Segment:
    """What was said in one window. start, end: seconds; where windows overlap, the middle of the overlap. text: without
    the text of neighbouring segments. output: None until the answer is complete."""

    start: float
    end: float
    text: str = ""
    output: OmniOutput | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the answer stopped at its maximum of tokens."""
        return self.output is not None and self.output.finish_reason == "length"

    def as_json(self) -> dict[str, Any]:
        """For the documents of the command line."""
        reason = None if self.output is None else self.output.finish_reason
        times = {"start": round(self.start, 3), "end": round(self.end, 3)}
        return {**times, "text": self.text, "finish_reason": reason}


class _Window:
    """The answer to one window. text: without what its segment has already."""

    def __init__(self, span: Span, segment: Segment, reasons: bool):
        self.span, self.segment, self.text = span, segment, ""
        self._parts = AnswerParts(reasons, has_tools=False)
        self._content = ""

    def add(self, text: str, is_last: bool = False) -> None:
        said = "".join(part.text for part in self._parts.put(text, is_last) if part.kind == "content")
        self.text += said
        self._content += said

    @property
    def is_whole(self) -> bool:
        return self.segment.output is not None

    @property
    def words_per_s(self) -> float:
        return len(words_of(self._content)) / (self.span.end - self.span.start)

    def settled(self) -> str:
        """The start of the text, which the next window cannot change."""
        if not self.span.overlap_behind:
            return self.text
        open_words = words_of(self.text)[-reach(self.span.overlap_behind) :]
        return self.text[: open_words[0].start] if open_words else ""


class Transcript:
    """Where two windows overlap, the first one's last words are held back until the second one has said them too.

    reasons: the prompt has opened the model's reasoning, which is left out. duration: seconds of the recording."""

    def __init__(self, reasons: bool = False):
        self.text, self.segments, self.duration = "", list[Segment](), 0.0
        self._reasons = reasons
        self._window: _Window | None = None  # whose answer is not complete
        self._held: _Window | None = None  # the one before, whose last words are held back
        self._between: str | None = None  # what stands between two windows' texts that were joined

    @property
    def num_settled(self) -> int:
        """How many of the first segments will not change any more."""
        return len(self.segments) - sum(window is not None for window in (self._window, self._held))

    def put(self, span: Span, chunk: StreamChunk) -> str:
        """Adds a piece of the answer to a window; the windows come one after the other. Returns what is added to the
        text."""
        grown = ""
        if self._window is None:
            if not span.overlap:
                grown, self._between = self._release(), None
            start, end = span.start + span.overlap / 2, span.end - span.overlap_behind / 2
            self.segments.append(Segment(start, end))
            self._window = _Window(span, self.segments[-1], self._reasons)
        window = self._window
        if isinstance(chunk, TextDelta):
            window.add(chunk.text)
        elif isinstance(chunk, StreamEnd):
            window.add("", is_last=True)
            window.segment.output = chunk.output
        grown += self._settle(window)
        if window.is_whole:
            self._window, self._held = None, window if span.overlap_behind else None
        return grown

    def end(self) -> str:
        """To be called after the last window. Returns what is added to the text."""
        return self._release()

    def _settle(self, window: _Window) -> str:
        grown = ""
        if self._held is not None:
            if not window.is_whole and len(words_of(window.text)) <= reach(window.span.overlap):
                return ""
            grown = self._join(self._held, window)
        return grown + self._add_text(window, window.settled())

    def _join(self, before: _Window, behind: _Window) -> str:
        # An answer that was cut off lacks the words of the overlap
        joint = None
        if not before.segment.is_cut:
            joint = join(before.text, behind.text, behind.span.overlap, before.words_per_s)
        if joint is not None:
            before.text, behind.text = joint.before, joint.behind
        grown = self._release()
        self._between = None if joint is None else joint.between
        return grown

    def _release(self) -> str:
        held, self._held = self._held, None
        return self._add_text(held, held.text) if held is not None else ""

    def _add_text(self, window: _Window, text: str) -> str:
        """Moves the start of a window's text to its segment, except space at its end, which may end the window."""
        text = text.rstrip()
        window.text = window.text[len(text) :]
        segment = window.segment
        if not segment.text:
            text = text.lstrip()
        if not text:
            return ""
        joint = ""
        if not segment.text and self.text:
            joint = self._between if self._between is not None else _joint(self.text, text)
            self._between = None
        segment.text += text
        self.text += joint + text
        return joint + text

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
        """Spans with missing text, which OpenAI's API has no field for; empty if there are none."""
        spans = [{"start": segment.start, "end": segment.end} for segment in self.segments if segment.is_cut]
        return {"incomplete": spans} if spans else {}

    def as_json(self) -> dict[str, Any]:
        """OpenAI's response format json."""
        return {"text": self.text, "usage": self.usage, **self.incomplete}

    def as_verbose_json(self, task: str, language: str | None, temperature: float | None) -> dict[str, Any]:
        """OpenAI's response format verbose_json, with null for what the model does not tell. language: as named by the
        caller."""
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
        """OpenAI's response format text, srt or vtt."""
        if kind == "text":
            return self.text
        return as_subtitles(self.segments, kind)


def as_subtitles(segments: Iterable[Segment], kind: Literal["srt", "vtt"]) -> str:
    """A cue for each segment with text."""
    said = [segment for segment in segments if segment.text]
    if kind == "srt":
        return "".join(f"{number}\n{_cue(segment, ',')}\n\n" for number, segment in enumerate(said, 1))
    return "WEBVTT\n\n" + "".join(f"{_cue(segment, '.', escapes=True)}\n\n" for segment in said)


def _joint(before: str, behind: str) -> str:
    """What stands between the texts of two windows: a space, unless both are in a script without spaces."""
    if not before or not behind:
        return ""
    return "" if is_wide(before[-1]) and is_wide(behind[0]) else " "


def _compression(text: str) -> float:
    """The compression ratio as Whisper defines it: high for text that repeats itself."""
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
