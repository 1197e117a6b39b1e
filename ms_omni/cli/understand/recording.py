"""`understand --task speech-recognition|speech-translation` for a recording, window by window."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms_omni.cli.media_checks import audio_of
from ms_omni.cli.resuming import common_settings
from ms_omni.cli.terminal import clock_text, print_note
from ms_omni.cli.understand.journal import Journal
from ms_omni.config import EngineConfig
from ms_omni.files import json_line, write_text
from ms_omni.inputs.windows import WindowRules
from ms_omni.options import Options
from ms_omni.recordings.recording import Recording
from ms_omni.recordings.transcribe import Transcription
from ms_omni.recordings.transcript import as_subtitles

if TYPE_CHECKING:
    from ms_omni.cli.understand.request import Request
    from ms_omni.engine import OmniEngine
    from ms_omni.recordings.output import RecordingOutput


class RecordingJob:
    """A recording to transcribe and where its text goes. Made before the model is loaded."""

    def __init__(self, request: Request):
        """Raises OmniError for a recording that cannot be read, and for a journal of another one."""
        self._request = request
        self._recording = Recording(audio_of(request.conversation), request.engine.media_access)
        self._journal = None
        if request.transcript is not None:
            self._journal = Journal(
                request.transcript, _settings(request.engine, request.conversation, request.options)
            )

    @property
    def goes_on(self) -> bool:
        """Whether another run can resume an interrupted one."""
        return self._journal is not None

    def run(
        self, engine: OmniEngine, put: Callable[[str], object], progress: Callable[[str, int, int], None] | None
    ) -> RecordingOutput:
        """put: called with each new piece of text. The process that writes also writes the file of --transcript."""
        journal = self._journal if engine.is_writer else None
        heard = self._journal.heard if self._journal else ()
        work = Transcription(engine, self._recording, self._request.conversation, self._request.options, heard=heard)
        try:
            if journal is not None:
                if heard:
                    print_note(f"{len(heard)} windows, {clock_text(heard[-1].span.end)}, are transcribed already")
                journal.open()
                work.on_heard = journal.add
            total = round(self._recording.seconds or 0)
            with closing(work.deltas()) as deltas:
                for delta in deltas:
                    put(delta)
                    segments = work.transcript.segments
                    if progress is not None and segments:
                        done = segments[work.transcript.num_settled - 1].end if work.transcript.num_settled else 0
                        progress("recording", round(done), total)
            output = work.output()
            if journal is not None:
                assert self._request.transcript is not None
                _write(self._request.transcript, output)
                journal.remove()
            return output
        finally:
            if journal is not None:
                journal.close()


def note_cut(output: RecordingOutput) -> None:
    """Never cut an answer silently."""
    cut = [segment for segment in output.segments if segment.is_cut]
    if cut:
        print_note(
            f"note: the text of {len(cut)} of {len(output.segments)} windows stopped at the maximum of tokens, the "
            f"first at {clock_text(cut[0].start)}; raise --thinker-max-new-tokens for more"
        )


def _settings(engine: EngineConfig, conversation: list[dict[str, Any]], options: Options) -> dict[str, Any]:
    """What two runs must have in common for their windows to belong together."""
    audio = audio_of(conversation)
    size = os.stat(audio).st_size if os.path.isfile(audio) else None
    asked = [
        [message["role"], [part["text"] for part in message["content"] if part["type"] == "text"]]
        if isinstance(message["content"], list)
        else [message["role"], message["content"]]
        for message in conversation
    ]
    recording = {"audio": audio, "bytes": size, "prompt": asked, "windows": asdict(WindowRules())}
    return {**common_settings(engine, options), **recording}


def _write(path: Path, output: RecordingOutput) -> None:
    kind = path.suffix.lower()
    if kind == ".txt":
        text = output.text + "\n"
    elif kind == ".json":
        text = json_line(output.to_dict())
    else:
        text = as_subtitles(output.segments, "srt" if kind == ".srt" else "vtt")
    write_text(path, text, "--transcript")
