"""What each process of a launched job runs: it leaves its process id, cannot outlive msrun, then runs the command.

python -m ms_omni.parallel.rank_program LOG_DIR WORDS...
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from pathlib import Path

from ms_omni.parallel.world import is_scheduler, rank_before_start

SCHEDULER = "scheduler"
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def pid_file(log_dir: Path, process: int | str) -> Path:
    """Where a process (its rank, or SCHEDULER) leaves its process id."""
    return log_dir / f"{process}.pid"


def stdout_file(log_dir: Path) -> Path:
    """What rank 0 writes to stdout: msrun's logs hold stdout and stderr in one."""
    return log_dir / "stdout.txt"


def main(argv: list[str]) -> None:
    """argv: the directory of the job's logs, then the words of the command."""
    log_dir, words = Path(argv[0]), argv[1:]
    die_with_parent()
    rank = rank_before_start()
    if is_scheduler() or rank is not None:
        pid_file(log_dir, SCHEDULER if is_scheduler() else str(rank)).write_text(str(os.getpid()))
    if rank == 0:
        with open(stdout_file(log_dir), "ab") as file:
            os.dup2(file.fileno(), 1)
    _run(words)


def _run(words: list[str]) -> None:
    """As `python SCRIPT.py ...`, or as `python -m ms_omni ...`."""
    if words[0].endswith(".py"):
        sys.argv = words
        sys.path[0] = str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")
    else:
        sys.argv = ["ms-omni", *words]
        runpy.run_module("ms_omni", run_name="__main__")


def die_with_parent() -> None:
    """Linux kills this process when the one that started it ends, however it ends."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
