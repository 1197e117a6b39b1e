"""Requests to the engine, and the handles by which their answers are read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.outputs import AudioChunk, OmniOutput, StreamChunk, StreamEnd, TextDelta

# Called with (stage, done, total): tokens of "thinker" and "talker" and their maximum, frames of "code2wav"
Progress = Callable[[str, int, int], None]
# Python runs signal handlers on the main thread, which must therefore wake up regularly while it waits: MindSpore's own
# handler of SIGINT sends SIGTERM, which need not interrupt the wait.
SIGNAL_CHECK_S = 0.5


class RequestCancelled(Exception):
    """The request was cancelled."""


class StepFailed(RuntimeError):
    """An internal error in a step; all requests of the step fail with it. The original error is its cause."""


class EngineStopped(OmniError):
    """The engine was closed, or cannot go on."""


@dataclass(frozen=True)
class Prepared:
    """The inputs of one conversation, on the host.

    arrays: the processor's results, by name. prompt_ids: int, (tokens,), the Thinker's prompt. num_talker_prompt: the
    length of the Talker's prompt, 0 where nothing is spoken. usage: token counts of the prompt, by their names in
    `Usage`."""

    arrays: Mapping[str, Any]
    prompt_ids: np.ndarray
    num_talker_prompt: int = 0
    usage: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Speech:
    """How an answer is spoken. stop_id: the codec token that ends speech. first_chunk_frames, chunk_frames: codec
    frames of the first piece of the wave, and at most of each other."""

    speaker_id: int
    stop_id: int
    num_code_groups: int
    first_chunk_frames: int
    chunk_frames: int


@dataclass(frozen=True)
class Request:
    """A conversation to be answered.

    prepare: reads the media and runs the processor, on another thread; raises OmniError for unusable input. sampling:
    resolved, only the seed may be None. stop_ids: Thinker tokens that end the text. stop_texts: non-empty texts that
    end it and are not part of it. speech: None for text only. progress: called by the thread that reads the handle.
    stats: initial values of the answer's stats."""

    prepare: Callable[[], Prepared]
    sampling: SamplingParams
    stop_ids: tuple[int, ...]
    stop_texts: tuple[str, ...] = ()
    use_audio_in_video: bool = False
    speech: Speech | None = None
    progress: Progress | None = None
    stats: Mapping[str, float] = field(default_factory=dict)


class RequestHandle:
    """The answer to one request, for any thread.

    Iterating yields each TextDelta and AudioChunk once, as they are made, and finally StreamEnd. Closing the iterator
    early cancels the request; so does dropping the handle. An error of the request is raised by the iterator and by
    `result`. owner: the engine, which must live as long as the handle."""

    owner: Any = None

    def __init__(self, progress: Progress | None = None):
        self.progress = progress
        self._changed = threading.Condition()
        self._chunks: list[StreamChunk] = []
        self._counts: list[tuple[str, int, int]] = []
        self._output: OmniOutput | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[RequestHandle], object]] = []
        self._listener: Callable[[RequestHandle], object] | None = None

    @property
    def done(self) -> bool:
        """Whether the request has ended: answered, failed or cancelled."""
        return self._output is not None or self._error is not None

    @property
    def error(self) -> BaseException | None:
        """The error that ended the request; None for an answered or running one."""
        return self._error

    def __iter__(self) -> Generator[StreamChunk, None, None]:
        try:
            while True:
                self._wait(lambda: bool(self._chunks) or self.done, None)
                for chunk in self.take():
                    yield chunk
                    if isinstance(chunk, StreamEnd):
                        return
        finally:
            self.cancel()

    def take(self) -> list[StreamChunk]:
        """All pieces that were not taken yet, without waiting; after the last piece every call returns the StreamEnd.
        Raises as `result` does."""
        with self._changed:
            if self._chunks:
                chunks, self._chunks = self._chunks, []
                return chunks
        return [StreamEnd(self.result())] if self.done else []

    def listen(self, listener: Callable[[RequestHandle], object]) -> None:
        """Calls `listener` with this handle now, and whenever `take` may return something. The engine's thread calls
        it, so it must be fast and must not raise."""
        self._listener = listener
        listener(self)

    def result(self, timeout: float | None = None) -> OmniOutput:
        """The whole answer. timeout: seconds to wait at most. Raises TimeoutError, RequestCancelled, OmniError for
        unusable input or a closed engine, StepFailed for an internal error."""
        self._wait(lambda: self.done, timeout)
        if self._output is None:
            raise self._error or RequestCancelled()
        return self._output

    def cancel(self) -> None:
        """Ends the request; the engine stops working on it at its next step. Does nothing once it has ended."""
        self.fail(RequestCancelled("the request was cancelled"))

    def add_done_callback(self, callback: Callable[[RequestHandle], object]) -> None:
        """Calls `callback` with this handle when the request has ended, or at once if it has. The thread that ends it
        makes the call, so the callback must be fast and must not raise, like the `put` of a queue."""
        with self._changed:
            if not self.done:
                self._callbacks.append(callback)
                return
        callback(self)

    def put(self, chunk: TextDelta | AudioChunk) -> None:
        """By the engine: the next piece of the answer."""
        with self._changed:
            if self.done:
                return
            self._chunks.append(chunk)
            self._changed.notify_all()
        self._tell()

    def count(self, stage: str, done: int, total: int) -> None:
        """By the engine: how far a stage has got."""
        with self._changed:
            if self.progress is not None and not self.done:
                self._counts.append((stage, done, total))
                self._changed.notify_all()

    def finish(self, output: OmniOutput) -> None:
        """By the engine: the answer is complete."""
        self._end(output, None)

    def fail(self, error: BaseException) -> None:
        """By the engine: there will be no answer."""
        self._end(None, error)

    def _end(self, output: OmniOutput | None, error: BaseException | None) -> None:
        with self._changed:
            if self.done:
                return
            self._output, self._error = output, error
            callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        self._tell()
        for callback in callbacks:
            callback(self)

    def _tell(self) -> None:
        if self._listener is not None:
            self._listener(self)

    def _wait(self, is_ready: Callable[[], bool], timeout: float | None) -> None:
        """Until `is_ready`, calling `progress` meanwhile."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._changed:
                left = SIGNAL_CHECK_S if deadline is None else min(SIGNAL_CHECK_S, deadline - time.monotonic())
                if not (self._counts or is_ready()) and left > 0:
                    self._changed.wait(left)
                counts, self._counts = self._counts, []
                ready = is_ready()
            for count in counts:
                if self.progress is not None:
                    self.progress(*count)
            if ready:
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"no answer within {timeout:g} s")


_DROPPED = RequestHandle()
_DROPPED.cancel()


def handle_of(reference: Callable[[], RequestHandle | None]) -> RequestHandle:
    """The handle that a weak reference refers to, or a cancelled one if it was dropped."""
    return reference() or _DROPPED
