"""Runs a job under msrun: shows rank 0's output live; on failure names the rank, shows its last lines, and ends all."""

from __future__ import annotations

import codecs
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ms_omni.parallel.msrun import JobSpec
from ms_omni.parallel.rank_program import SCHEDULER, die_with_parent, pid_file, stdout_file

EXIT_FAILED = 1
EXIT_USER_ERROR = 2
_POLL_S = 0.1
# When a rank has ended, msrun waits for the scheduler, which needs half a minute to notice.
_SCHEDULER_GRACE_S = 1.0
_END_GRACE_S = 10.0
_LAST_LINES = 15
# Messages of msrun and of the scheduler in MindSpore 2.7.1. msrun prints this one before it ends the other ranks; the
# traceback after it may never be written.
_FAILURE = re.compile(r"Worker process (\d+) exit with exception\. Error code: (-?\d+)")
_LOST = re.compile(r"The node: (\d+) is timed out")
_PROGRESS = re.compile(r"ms-omni: [a-z]+(: \d+ (of \d+ )?\w+(, [\d:]+ left)?| \.\.\.)$")
_NOISE = re.compile(r"\[(INFO|WARNING|DEBUG)\] [A-Z_]+\(")


@dataclass(frozen=True)
class Failure:
    """rank: None if it is not a rank of this machine. code: negative for a signal, as in subprocess."""

    rank: int | None
    code: int

    @property
    def how(self) -> str:
        """How the process ended, as the end of a sentence."""
        if self.code >= 0:
            return f"ended with exit code {self.code}"
        with suppress(ValueError):
            return f"was ended by signal {-self.code} ({signal.Signals(-self.code).name})"
        return f"was ended by signal {-self.code}"


class FileTail:
    """Reads what is added to a file that may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def read(self) -> str:
        """What was added since the last call; invalid UTF-8 is replaced."""
        with suppress(FileNotFoundError), open(self._path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
            self._offset += len(data)
            return self._decode(data)
        return ""


class Job:
    """One run of msrun. `out` and `err` receive the output of the shown rank, this machine's first."""

    def __init__(
        self,
        spec: JobSpec,
        line: list[str],
        environment: Mapping[str, str],
        out: TextIO,
        err: TextIO,
        grace_s: float = 0.0,
    ):
        """grace_s: how long an interrupted job may take to shut down after SIGTERM to rank 0; 0: it is killed at
        once."""
        self._grace_s = grace_s
        self.spec, self.line, self.environment, self.out, self.err = spec, line, environment, out, err
        self.shown_rank = spec.local_ranks[0]
        self._stdout = FileTail(stdout_file(spec.log_dir))
        self._stderr = FileTail(self._log(self.shown_rank))
        self._msrun_log = FileTail(spec.log_dir / "msrun.log")
        self._partial_line = ""
        self._msrun_text = ""
        self._progress = False

    def run(self) -> int:
        """Returns 0, or 2 if a rank ended with 2 (a user's mistake), else 1. No process of the job is left
        afterwards."""
        _remove_earlier_logs(self.spec.log_dir)
        with open(self.spec.log_dir / "msrun.log", "wb") as log:
            process = subprocess.Popen(
                self.line,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            failure = self._watch(process)
        except KeyboardInterrupt:
            if not self._shuts_down(process):
                raise
            failure = None
        finally:
            self._end_all(process)
            for number, handler in before.items():
                signal.signal(number, handler)
        self._relay(last=True)
        return 0 if failure is None else self._report(failure)

    def _watch(self, process: subprocess.Popen[bytes]) -> Failure | None:
        scheduler_ends_at = gives_up_at = None
        while process.poll() is None:
            self._relay()
            failed = self._failure() is not None
            if scheduler_ends_at is None and (failed or self._scheduler_has_ended()):
                scheduler_ends_at = time.monotonic() + (_SCHEDULER_GRACE_S if failed else _END_GRACE_S)
                gives_up_at = scheduler_ends_at + _END_GRACE_S
            if scheduler_ends_at is not None and time.monotonic() > scheduler_ends_at:
                _kill(self._pid(SCHEDULER))
            if gives_up_at is not None and time.monotonic() > gives_up_at:
                return self._failure() or Failure(None, EXIT_FAILED)
            time.sleep(_POLL_S)
        if process.returncode == 0:
            return None
        return self._failure() or Failure(None, process.returncode)

    def _shuts_down(self, process: subprocess.Popen[bytes]) -> bool:
        pid, deadline = self._pid(self.shown_rank), time.monotonic() + self._grace_s
        if not self._grace_s or pid is None or not _is_running(pid):
            return False
        os.kill(pid, signal.SIGTERM)
        while process.poll() is None and time.monotonic() < deadline:
            self._relay()
            time.sleep(_POLL_S)
        return process.poll() == 0

    def _failure(self) -> Failure | None:
        self._msrun_text += self._msrun_log.read()
        match = _FAILURE.search(self._msrun_text)
        if match is None:
            return None
        rank = next((rank for rank in self.spec.local_ranks if self._pid(rank) == int(match[1])), None)
        return Failure(rank, int(match[2]))

    def _scheduler_has_ended(self) -> bool:
        pid = self._pid(SCHEDULER)
        return pid is not None and not _is_running(pid)

    def _relay(self, last: bool = False) -> None:
        """Passes output on: results and messages on the first machine, only messages on the others."""
        if text := self._stdout.read():
            self._clear_progress()
            self.out.write(text)
            self.out.flush()
        *lines, self._partial_line = (self._partial_line + self._stderr.read()).split("\n")
        if last and self._partial_line:
            lines.append(self._partial_line)
        for line in lines:
            if _NOISE.match(line):
                continue
            self._clear_progress()
            self._progress = _PROGRESS.match(line) is not None and self.err.isatty()
            self.err.write(line if self._progress else line + "\n")
        if last:
            self._clear_progress()
        self.err.flush()

    def _clear_progress(self) -> None:
        """On a terminal a progress line stays until the next output."""
        if self._progress:
            self.err.write("\r\x1b[K")
            self.err.flush()
            self._progress = False

    def _report(self, failure: Failure) -> int:
        rank, log_dir = failure.rank, self.spec.log_dir
        if rank is None:
            self._show(log_dir / "msrun.log")
            self._show(log_dir / "scheduler.log")
            self.err.write(f"ms-omni: the job failed; logs are in {log_dir}\n")
            return EXIT_FAILED
        if failure.code == -signal.SIGTERM and (lost := _lost_rank(log_dir)) is not None:
            self.err.write(
                f"ms-omni: rank {lost} on another machine was lost, and so the job failed; see its log there\n"
            )
            return EXIT_FAILED
        if failure.code == EXIT_USER_ERROR:
            reason = _last_lines(self._log(rank))[-1:]
            if (
                reason != _last_lines(self._log(self.shown_rank))[-1:]
            ):  # the shown rank may have reported the same mistake
                self.err.write("".join(f"{line}\n" for line in reason))
            return EXIT_USER_ERROR
        if rank != self.shown_rank:
            self._show(self._log(rank))
        self.err.write(f"ms-omni: rank {rank} {failure.how}, and so did the job; its log: {self._log(rank)}\n")
        return EXIT_FAILED

    def _show(self, path: Path) -> None:
        lines = _last_lines(path)
        if lines:
            self.err.write(f"ms-omni: last lines of {path}:\n" + "".join(f"  | {line}\n" for line in lines))

    def _log(self, rank: int) -> Path:
        return self.spec.log_dir / f"worker_{rank}.log"

    def _pid(self, process: int | str) -> int | None:
        with suppress(OSError, ValueError):
            return int(pid_file(self.spec.log_dir, process).read_text())
        return None

    def _end_all(self, process: subprocess.Popen[bytes]) -> None:
        """Kills what is left. Ranks die with msrun (rank_program), but only once they have got that far."""
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for name in (SCHEDULER, *self.spec.local_ranks):
            _kill(self._pid(name))


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _remove_earlier_logs(log_dir: Path) -> None:
    for pattern in ("*.pid", "worker_*.log", "scheduler.log", stdout_file(log_dir).name):
        for path in log_dir.glob(pattern):
            path.unlink()


def _is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def _kill(pid: int | None) -> None:
    if pid is not None and _is_running(pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _lost_rank(log_dir: Path) -> int | None:
    """The rank that the scheduler reported as timed out before it ended this machine's ranks with SIGTERM."""
    with suppress(OSError):
        match = _LOST.search((log_dir / f"{SCHEDULER}.log").read_text(errors="replace"))
        return int(match[1]) if match else None
    return None


def _last_lines(path: Path) -> list[str]:
    with suppress(OSError):
        lines = path.read_text(errors="replace").splitlines()
        return [line for line in lines if line.strip() and not _NOISE.match(line)][-_LAST_LINES:]
    return []
