"""`ms-omni accept`: does this card compute what it should, before a model is loaded; one file to send."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms_omni.acceptance.steps import NAMES, STEPS
from ms_omni.cli.parser import one_of, print_note
from ms_omni.errors import OmniError

if TYPE_CHECKING:
    from typing import TextIO

    from ms_omni.acceptance.document import Acceptance
    from ms_omni.parallel.world import World

USAGE = "ms-omni accept [--out DIR] [--only STEP] [--quick]"
HELP = "check what a card computes against numpy, in minutes and without a model; writes one file to send"
EXIT_NOT_ACCEPTED = 1
NO_CARD = (
    "no Ascend card is visible to MindSpore (ms-omni doctor says what is missing); without a card, "
    "bash launch/emulated.sh ms-omni accept runs MindSpore's Ascend backend over emulated operators"
)
# Rank 0 waits so long for a rank that says nothing.
_SILENCE_S = 120.0
_POLL_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", metavar="DIR", default=".", help="where accept-SOC-TIME.json is written (default: here)"
    )
    parser.add_argument(
        "--only", metavar="STEP", type=one_of(*NAMES), action="append", help=f"of {', '.join(NAMES)}; may repeat"
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes and fewer experts, under a minute on a card")


def run(args: argparse.Namespace) -> int:
    """Run the steps, print a table and a verdict, write the file. Exit code 0 when all is right, else 1. Raises
    OmniError where there is no card."""
    from ms_omni.cli.quiet import results_only_on_stdout
    from ms_omni.parallel.world import is_under_msrun

    names = tuple(step.name for step in STEPS if not args.only or step.name in args.only)
    out = _directory(args.out)
    with results_only_on_stdout(args.debug) as results:
        if is_under_msrun():
            return _one_rank(names, args.quick, out, results)
        return _one_card(names, args, out, results)


def _directory(name: str) -> Path:
    path = Path(name)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OmniError(f"--out {name}: cannot be made ({error.strerror})") from error
    if not os.access(path, os.W_OK):
        raise OmniError(f"--out {name}: cannot be written to")
    return path


def _one_card(names: tuple[str, ...], args: argparse.Namespace, out: Path, results: TextIO) -> int:
    from ms_omni.acceptance.document import Acceptance, rank_result
    from ms_omni.acceptance.journal import Journal, read_journal
    from ms_omni.acceptance.supervisor import Supervisor
    from ms_omni.acceptance.work import EXIT_NO_CARD
    from ms_omni.cli.accept_view import make_step_progress

    with tempfile.TemporaryDirectory(prefix="ms-omni-accept-") as directory:
        journal, progress = Journal(Path(directory) / "journal.jsonl"), make_step_progress()
        log = None if args.debug else Path(directory) / "log.txt"
        interrupt = None
        try:
            if Supervisor(journal, names, args.quick, progress, log).run() == EXIT_NO_CARD:
                raise OmniError(NO_CARD)
        except KeyboardInterrupt as error:
            interrupt = error
        finally:
            progress.close()
        result = rank_result(0, read_journal(journal.path))
    if interrupt is not None and not result.checks:
        raise interrupt
    code = _deliver(Acceptance(_header(), (result,), names, args.quick, interrupt is not None), out, results)
    if interrupt is not None:
        raise interrupt
    return code


def _one_rank(names: tuple[str, ...], quick: bool, out: Path, results: TextIO) -> int:
    """Of a job. Rank 0 keeps the file as the job goes: whatever ends the job leaves what was found until then. The
    others end well whatever they found: a rank that fails ends the job."""
    from ms_omni.acceptance.journal import Journal
    from ms_omni.acceptance.work import work
    from ms_omni.parallel.world import rank_before_start

    job = Path(tempfile.gettempdir()) / f"ms-omni-accept-{os.getuid()}-{os.getppid()}"
    job.mkdir(mode=0o700, exist_ok=True)
    rank = rank_before_start()
    journal = Journal(job / f"rank_{'scheduler' if rank is None else rank}.jsonl")
    journal.path.unlink(missing_ok=True)
    header = _header()

    def keep(world: World) -> None:
        if world.is_writer:
            _write(_together(job, world.world_size, header, names, quick), out)

    world = work(journal, quick, names, after_step=keep)
    if world is None:
        raise OmniError(NO_CARD)
    if not world.is_writer:
        return 0
    _wait_for_ranks(job, world.world_size)
    code = _deliver(_together(job, world.world_size, header, names, quick), out, results)
    for path in job.iterdir():
        path.unlink()
    job.rmdir()
    return code


def _together(job: Path, world_size: int, header: dict[str, Any], names: tuple[str, ...], quick: bool) -> Acceptance:
    """What all ranks of this machine have found so far."""
    from ms_omni.acceptance.document import Acceptance, rank_result
    from ms_omni.acceptance.journal import read_journal

    ranks = tuple(rank_result(rank, read_journal(job / f"rank_{rank}.jsonl")) for rank in range(world_size))
    return Acceptance(header, ranks, names, quick)


def _wait_for_ranks(job: Path, world_size: int) -> None:
    """Until all have come to their end, or nobody says anything any more."""
    from ms_omni.acceptance.journal import END, read_journal

    said, since = -1, time.monotonic()
    while time.monotonic() - since < _SILENCE_S:
        journals = [read_journal(job / f"rank_{rank}.jsonl") for rank in range(world_size)]
        if all(events and events[-1]["event"] == END for events in journals):
            return
        now = sum(len(events) for events in journals)
        if now != said:
            said, since = now, time.monotonic()
        time.sleep(_POLL_S)


def _header() -> dict[str, Any]:
    from ms_omni.acceptance.privacy import redact
    from ms_omni.cli.machine import Machine
    from ms_omni.profiling.environment import commit, is_emulated, versions

    machine = Machine()
    known = {
        "driver": machine.driver_version(),
        "firmware": machine.firmware_version(),
        "cann_toolkit": machine.cann_version("toolkit"),
        "cann_kernels": machine.cann_version("kernels"),
    }
    return {
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "emulated": is_emulated(),
        "commit": commit(),
        "versions": versions() | {name: redact(version) for name, version in known.items() if version},
    }


def _deliver(acceptance: Acceptance, out: Path, results: TextIO) -> int:
    from ms_omni.cli.accept_view import print_results

    path = _write(acceptance, out)
    print_results(acceptance, results)
    print_note(f"wrote {path}; please send it with an issue, whatever it says")
    return 0 if acceptance.accepted else EXIT_NOT_ACCEPTED


def _write(acceptance: Acceptance, out: Path) -> Path:
    from ms_omni.cli.whole_file import write_text

    moment = acceptance.header["made_at"].split("+")[0].replace("-", "").replace(":", "")
    path = out / f"accept-{acceptance.soc}-{moment}Z.json"
    write_text(path, json.dumps(acceptance.to_json(), indent=1, ensure_ascii=False) + "\n")
    return path
