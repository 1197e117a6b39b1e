"""Transcribes or translates a recording of any length with an engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from threading import Semaphore, Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from ms_omni.answer_parts import opens_reasoning
from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.inputs.windows import Span, Window, WindowRules, cut_windows
from ms_omni.options import Options
from ms_omni.outputs import OmniOutput, StreamChunk, StreamEnd, TextDelta
from ms_omni.recordings.output import RecordingOutput, recording_output
from ms_omni.recordings.recording import Recording
from ms_omni.recordings.submit_windows import submit_windows
from ms_omni.recordings.transcript import Segment, Transcript
from ms_omni.scheduling.request import RequestHandle
from ms_omni.tasks.request import task_conversation, task_options
from ms_omni.tasks.table import get_task
from ms_omni.tasks.variant import variant_of

if TYPE_CHECKING:
    from ms_omni.engine import OmniEngine

# Tasks that can be asked about one window after the other
TASKS = ("speech-recognition", "speech-translation")


@dataclass(frozen=True)
class Heard:
    """A window and its complete answer."""

    span: Span
    output: OmniOutput


@dataclass
class Transcription:
    """The transcription of one recording.

    conversation: about one sound, which each window replaces. options: for `OmniEngine.submit`. rules: how windows are
    cut; None: the defaults. heard: the first windows, answered in an earlier run. on_heard: called in order with each
    further window when its answer is complete. turns: see `submit_windows`; None: as many as the engine answers at a
    time."""

    engine: OmniEngine
    recording: Recording
    conversation: list[dict[str, Any]]
    options: Options
    rules: WindowRules | None = None
    heard: Sequence[Heard] = ()
    on_heard: Callable[[Heard], object] = lambda heard: None
    turns: Semaphore | None = None
    transcript: Transcript = field(init=False)

    def __post_init__(self) -> None:
        self.transcript = Transcript(opens_reasoning(self.engine.processor))

    def deltas(self) -> Generator[str, None, None]:
        """Yields what is added to the transcript; "" where a segment is settled without. Closing the iterator cancels
        the requests. Raises OmniError for a recording that cannot be read, after the text of what could be read."""
        transcript = self.transcript
        try:
            for one in self.heard:
                transcript.put(one.span, TextDelta(one.output.text, ()))
                transcript.put(one.span, StreamEnd(one.output))
            if transcript.text:
                yield transcript.text
            with closing(self._answers()) as answers:
                for span, chunk in answers:
                    if isinstance(chunk, StreamEnd):
                        self.on_heard(Heard(span, chunk.output))
                    grown = transcript.put(span, chunk)
                    if grown or isinstance(chunk, StreamEnd):
                        yield grown
        except Exception:
            yield transcript.end()
            raise
        yield transcript.end()
        transcript.duration = self.recording.read_s

    def _answers(self) -> Generator[tuple[Span, StreamChunk], None, None]:
        windows = cut_windows(self.recording.pieces(), self.rules)
        for one, window in zip(self.heard, islice(windows, len(self.heard)), strict=False):
            if one.span != window.span:
                raise OmniError("the recording has changed since its first part was heard; begin anew")
        return submit_windows(windows, self._submit, self.turns or Semaphore(self.engine.max_num_seqs))

    def output(self) -> RecordingOutput:
        """The result, when `deltas` has ended."""
        return recording_output(self.transcript)

    def _submit(self, window: Window) -> RequestHandle:
        return self.engine.submit(_with_sound(self.conversation, window.samples), **self.options)


def _with_sound(conversation: list[dict[str, Any]], samples: np.ndarray) -> list[dict[str, Any]]:
    """The same conversation about another sound. samples: float32 (num_samples,) at 16 kHz."""

    def part(one: Any) -> Any:
        return {"type": "audio", "audio": samples} if isinstance(one, dict) and one.get("type") == "audio" else one

    return [
        {**message, "content": [part(one) for one in message["content"]]}
        if isinstance(message["content"], list)
        else message
        for message in conversation
    ]


def submit_recording(
    engine: OmniEngine,
    recording: Recording,
    conversation: list[dict[str, Any]],
    options: Options,
    turns: Semaphore | None = None,
) -> RequestHandle:
    """As `OmniEngine.submit`, for one sound of any length: a thread asks about its windows, and the result is a
    RecordingOutput. conversation, options, turns: as in `Transcription`."""
    handle = RequestHandle(options.get("progress"))
    handle.owner = engine

    def run() -> None:
        try:
            work = Transcription(engine, recording, conversation, options, turns=turns)
            with closing(work.deltas()) as deltas:
                for delta in deltas:
                    if handle.done:
                        return
                    if delta:
                        handle.put(TextDelta(delta, ()))
            handle.finish(work.output())
        except Exception as error:
            handle.fail(error)

    Thread(target=run, name="recording", daemon=True).start()
    return handle


def transcribe(
    engine: OmniEngine,
    audio: str | np.ndarray,
    *,
    task: str = "speech-recognition",
    language: str | None = None,
    target_language: str | None = None,
    system: str | None = None,
    sampling: SamplingParams | None = None,
    rules: WindowRules | None = None,
    on_progress: Callable[[float, float | None], object] = lambda done, total: None,
) -> Generator[Segment, None, None]:
    """Yields the segments of a recording in order, each when its text will not change any more; memory does not grow
    with the recording. As many windows are asked at a time as the engine answers.

    audio: a path, URL or data: URL, or float32 (num_samples,) at 16 kHz. task: of TASKS. language, target_language,
    system: as in `ms_omni.tasks.conversation`. sampling: overrides what the task recommends. rules: how windows are
    cut; None: the defaults. on_progress: called with the transcribed seconds and the recording's, None if the file
    does not state them. Closing the iterator cancels the requests. Raises OmniError."""
    check_task(task)
    # Each window replaces this sound
    media = {"audio": [np.zeros(1, np.float32)]}
    conversation = task_conversation(get_task(task), media, None, language, target_language, system)
    given: Options = {"return_audio": False, "sampling": sampling}
    options = task_options(get_task(task), given, variant_of(engine.directory))
    recording = Recording(audio)
    run = Transcription(engine, recording, conversation, options, rules)
    transcript, num_given = run.transcript, 0
    with closing(run.deltas()) as deltas:
        for _ in deltas:
            while num_given < transcript.num_settled:
                segment = transcript.segments[num_given]
                num_given += 1
                on_progress(segment.end, recording.seconds)
                yield segment


def check_task(name: str) -> None:
    """Raises OmniError for a task that is not one of TASKS."""
    if name not in TASKS:
        raise OmniError(f"task {name}: recordings of any length are taken by {' and '.join(TASKS)}")
