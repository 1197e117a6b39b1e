"""The windows of a recording that are transcribed so far: an interrupted run of hours goes on from there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from ms_omni.cli.resuming import difference
from ms_omni.errors import OmniError
from ms_omni.files import json_line, write_text
from ms_omni.inputs.windows import Span
from ms_omni.outputs import OmniOutput, Usage
from ms_omni.recordings.transcribe import Heard


class Journal:
    """JSON lines beside the file of --transcript: the settings, then a window a line, in order. Reading ends at a line
    that a crash has cut.

    heard: the windows of an earlier run."""

    def __init__(self, transcript: Path, settings: Mapping[str, Any]):
        """settings: what an earlier run must have in common with this one; OmniError if it has other ones."""
        self.path = transcript.with_name(f"{transcript.name}.part.jsonl")
        self._settings = json.loads(json.dumps(settings))
        self._file: BinaryIO | None = None
        lines = list(self._lines())
        if lines and lines[0] != self._settings:
            if not isinstance(lines[0], dict):
                raise OmniError(f"--transcript {transcript}: {self.path} is of something else; remove it")
            raise OmniError(
                f"--transcript {transcript}: {self.path} holds windows heard with "
                f"{difference(lines[0], self._settings)}; give the same settings, another file, or remove that one"
            )
        self.heard = tuple(_heard(lines[1:]))

    def open(self) -> None:
        """To write behind what it holds. Raises OmniError."""
        lines = [self._settings, *map(_line, self.heard)]
        write_text(self.path, "".join(map(json_line, lines)), "--transcript")
        self._file = self.path.open("ab", buffering=0)

    def add(self, heard: Heard) -> None:
        """Raises OmniError for a full disk."""
        assert self._file is not None
        try:
            self._file.write(json_line(_line(heard)).encode())
        except OSError as error:
            raise OmniError(f"--transcript: {self.path} could not be written ({error.strerror})") from error

    def close(self) -> None:
        """Keeps the file, for another run to go on with."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """When the transcript is written."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Whole ones, up to the first that is not. (The last one is empty.)"""
        with suppress(OSError, ValueError):
            for line in self.path.read_bytes().split(b"\n"):
                yield json.loads(line)


def _line(heard: Heard) -> dict[str, Any]:
    output = heard.output
    return {
        "span": asdict(heard.span),
        "text": output.text,
        "token_ids": list(output.token_ids),
        "finish_reason": output.finish_reason,
        "usage": asdict(output.usage),
    }


def _heard(lines: Iterable[dict[str, Any]]) -> Iterator[Heard]:
    """Up to the first that is no window, as another version may have written."""
    with suppress(KeyError, TypeError):
        for line in lines:
            usage = Usage(**line["usage"])
            output = OmniOutput(line["text"], tuple(line["token_ids"]), line["finish_reason"], usage)
            yield Heard(Span(**line["span"]), output)
