"""The answers of a batch: one file each while it runs, all in one file when it is done."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ms_omni.cli.batch.item import Answer, Item
from ms_omni.cli.resuming import difference
from ms_omni.errors import OmniError
from ms_omni.files import json_line, make_directory, write_bytes

RESULTS = "results.jsonl"
_POLL_S = 0.5


class AnswerStore:
    """The directory of `--out`. settings: what all answers in it must have in common.

    Several processes use it at once; each writes and removes only the files of its own answers."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self.directory, self._settings = directory, settings
        self._answers = directory / "answers"

    def answered(self, items: Iterable[Item]) -> dict[str, Answer]:
        """An earlier run's answers, by id, to the items as they are asked now. Failures are left out, to be tried
        again.

        Raises OmniError when an answer was made with other settings."""
        found = {}
        for item in items:
            record = self._read(item)
            if record is None or record["asked"] != item.digest:
                continue
            answer = record["answer"]
            if answer.failure is not None or (answer.wave is not None and not (self.directory / answer.wave).is_file()):
                continue
            self._check_settings(record["settings"])
            found[item.id] = answer
        return found

    def make(self) -> None:
        """Creates the directories. Raises OmniError when nothing can be written there."""
        make_directory(self._answers, "--out")

    def discard(self, items: Iterable[Item]) -> None:
        """Removes what an earlier run left of these, so that an interrupt does not leave old answers among new."""
        for item in items:
            before = self.read(item)
            self._file(item).unlink(missing_ok=True)
            for name in {item.wave, (before and before.wave) or item.wave}:
                (self.directory / name).unlink(missing_ok=True)

    def write(self, item: Item, answer: Answer) -> None:
        """Keeps the answer with the digest of its item. Raises OmniError for a full disk."""
        record = {"settings": self._settings, "asked": item.digest, "answer": asdict(answer)}
        write_bytes(self._file(item), [json_line(record).encode()])

    def stamps(self, items: Iterable[Item]) -> dict[str, int]:
        """When the answers that are there were written, by id."""
        wanted = {self._file(item).name: item.id for item in items}
        with os.scandir(self._answers) as entries:
            found = {wanted[entry.name]: _modified_ns(entry) for entry in entries if entry.name in wanted}
        return {name: stamp for name, stamp in found.items() if stamp is not None}

    def read(self, item: Item) -> Answer | None:
        """The answer that is there, to whatever was asked; None without one."""
        record = self._read(item)
        return None if record is None else record["answer"]

    def discard_results(self) -> None:
        """Removes results.jsonl, which an earlier run may have written."""
        (self.directory / RESULTS).unlink(missing_ok=True)

    def merge(self, items: Iterable[Item], answers: dict[str, Answer]) -> None:
        """Writes the answers of all items in their order, whole or not at all."""
        lines = (json_line(item.final_line(answers[item.id], self.directory)).encode() for item in items)
        write_bytes(self.directory / RESULTS, lines)

    def _file(self, item: Item) -> Path:
        return self._answers / f"{item.name}.json"

    def _read(self, item: Item) -> dict[str, Any] | None:
        """None without a file, for an empty one, as a crash of the machine may leave it, and for another version's."""
        with suppress(OSError, ValueError, TypeError):
            record = json.loads(self._file(item).read_text(encoding="utf-8"))
            if isinstance(record, dict) and {"settings", "asked", "answer"} <= record.keys():
                return {**record, "answer": Answer(**record["answer"])}
        return None

    def _check_settings(self, before: dict[str, Any]) -> None:
        if other := difference(before, self._settings):
            raise OmniError(
                f"--out {self.directory}: holds answers made with {other}; give the same settings, another directory, "
                "or --restart to begin anew"
            )


class AnswerCollector:
    """Collects the answers of all processes as they appear. Made before any process can write: the answers that are
    there by then belong to an earlier run."""

    def __init__(self, store: AnswerStore, items: Iterable[Item], report: Callable[[str, Answer], None]) -> None:
        """report: called with the name and answer of each item, once."""
        self._store, self._report = store, report
        self._missing = {item.id: item for item in items}
        self._before = store.stamps(self._missing.values())
        self.answers: dict[str, Answer] = {}

    def look(self) -> bool:
        """Collects new answers. Whether there were some."""
        count = len(self._missing)
        for name, stamp in self._store.stamps(self._missing.values()).items():
            item = self._missing[name]
            if stamp == self._before.get(name) or (answer := self._store.read(item)) is None:
                continue
            del self._missing[name]
            self.answers[name] = answer
            self._report(item.name, answer)
        return len(self._missing) < count

    def wait(
        self,
        time_out_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Returns when no answer is missing. Raises OmniError when none has come for `time_out_s` seconds."""
        since = clock()
        while True:
            if self.look():
                since = clock()
            if not self._missing:
                return
            if clock() - since > time_out_s:
                names = ", ".join(list(self._missing)[:3]) + (", ..." if len(self._missing) > 3 else "")
                raise OmniError(
                    f"--time-out {time_out_s:g}: no answer from another process for {time_out_s:g} s; "
                    f"{len(self._missing)} missing ({names}); run the same command to resume"
                )
            sleep(_POLL_S)


def _modified_ns(entry: os.DirEntry[str]) -> int | None:
    with suppress(OSError):  # removed meanwhile
        return entry.stat().st_mtime_ns
    return None
