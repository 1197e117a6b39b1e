"""Watches the process that runs the steps: notes which check was running when it died, and starts a new one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms_omni.acceptance.bench import RESTART_CODE
from ms_omni.acceptance.findings import ERROR, Check
from ms_omni.acceptance.journal import STEP, Journal, read_journal, unfinished
from ms_omni.acceptance.privacy import redact

POLL_S = 0.2
# A check that takes longer is taken to hang. Loading 1.2 GB and compiling take seconds on a card, minutes on a busy
# machine without one.
LONGEST_CHECK_S = 600.0
MOST_RESTARTS = 30
LAST_LINES = 6


@dataclass
class Supervisor:
    """journal: what the processes write. listener: called with all its events whenever there are new ones. log: the
    file for the processes' own output; None: stderr."""

    journal: Journal
    names: tuple[str, ...]
    quick: bool
    listener: Callable[[list[dict[str, Any]]], None]
    log: Path | None = None
    longest_check_s: float = LONGEST_CHECK_S
    program: tuple[str, ...] = (sys.executable, "-m", "ms_omni.acceptance.work")

    def run(self) -> int:
        """The exit code of the last process: 0, or work.EXIT_NO_CARD."""
        names = self.names
        for _ in range(MOST_RESTARTS):
            code = self._one_process(names)
            if code in (0, 2):
                return code
            self._note_end(code, names)
            names = self._remaining()
            if not names:
                return 0
        step = names[0]
        self.journal.check(Check(step, "the rest", ERROR, 0.0, message=f"given up after {MOST_RESTARTS} processes"))
        return 0

    def _one_process(self, names: tuple[str, ...]) -> int:
        words = [str(self.journal.path), "quick" if self.quick else "full", ",".join(names)]
        command = [*self.program, *words]
        with open(self.log, "wb") if self.log is not None else nullcontext(sys.stderr) as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            try:
                return self._watch(process)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def _watch(self, process: subprocess.Popen[bytes]) -> int:
        size, since = -1, time.monotonic()
        while process.poll() is None:
            time.sleep(POLL_S)
            now = self.journal.path.stat().st_size if self.journal.path.exists() else 0
            if now != size:
                size, since = now, time.monotonic()
                self.listener(read_journal(self.journal.path))
            elif time.monotonic() - since > self.longest_check_s:
                process.kill()
                process.wait()
                return -signal.SIGALRM  # unlike SIGKILL, which the kernel may send
        self.listener(read_journal(self.journal.path))
        return process.returncode

    def _note_end(self, code: int, names: tuple[str, ...]) -> None:
        """Notes the running check as failed; between checks, the step's preparation, which ends the step."""
        if code == RESTART_CODE:
            return
        events = read_journal(self.journal.path)
        at = unfinished(events)
        message = self._reason(code)
        if at is not None:
            self.journal.check(Check(*at, ERROR, 0.0, message=message))
            return
        step = self._remaining()[:1] or names[-1:]
        self.journal.check(Check(step[0], "preparation", ERROR, 0.0, message=message))
        self.journal.note(STEP, step=step[0])

    def _reason(self, code: int) -> str:
        if code == -signal.SIGALRM:
            return f"no answer within {self.longest_check_s:g} s; the process was ended"
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return "\n".join([f"the process {how}", *self._last_lines()])

    def _last_lines(self) -> list[str]:
        """The end of what the process printed: CANN writes there what its errors do not say."""
        if self.log is None:
            return []
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [redact(line.strip())[:300] for line in lines if line.strip()][-LAST_LINES:]

    def _remaining(self) -> tuple[str, ...]:
        """Steps that have not ended."""
        over = {event["step"] for event in read_journal(self.journal.path) if event["event"] == STEP}
        return tuple(name for name in self.names if name not in over)
