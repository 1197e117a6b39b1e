"""`ms-omni launch`: run a command on several cards, one process each, under msrun."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ms_omni.cli.commands import COMMANDS, command_parser
from ms_omni.cli.parser import one_of, whole_number
from ms_omni.cli.progress import INTERVAL_VARIABLE
from ms_omni.cli.resuming import goes_on
from ms_omni.cli.terminal import is_terminal, print_note
from ms_omni.errors import OmniError, did_you_mean
from ms_omni.files import make_directory, write_text

if TYPE_CHECKING:
    from ms_omni.cli.serve import ServeJob
    from ms_omni.config import EngineConfig
    from ms_omni.parallel.msrun import JobSpec

USAGE = "ms-omni launch --cards N [flags] -- understand --model DIR ... (or another command, or a script.py)"
HELP = "run a command on several cards: one process a card, under msrun"
_LOG_ROOT = Path("msrun_log")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The cards and machines, then the command that every rank runs."""
    at_least_1 = whole_number(low=1)
    add = parser.add_argument
    add("--cards", metavar="N", type=at_least_1, required=True, help="cards (processes) of this machine")
    add("--group-size", metavar="G", type=at_least_1, help="cards that share one model; default: all of the job")
    add("--nodes", metavar="N", type=at_least_1, default=1, help="machines, each with --cards cards; default 1")
    add("--node-rank", metavar="R", type=whole_number(low=0), help="number of this machine, from 0")
    add("--master-addr", metavar="ADDRESS", help="IPv4 address or name of machine 0")
    add("--master-port", metavar="PORT", type=whole_number(), help="port on machine 0; default: a free one, or 8118")
    add("--log-dir", metavar="DIR", type=Path, help="logs of all ranks; default msrun_log/PORT")
    add("--time-out", metavar="S", type=at_least_1, default=300, help="seconds for the ranks to meet; default 300")
    add("--bind-core", type=one_of("auto", "on", "off"), default="auto", help="pin ranks to cores; auto: on Ascend")
    add("--dry-run", action="store_true", help="print environment and msrun line; cards and model may be elsewhere")
    add("words", metavar="-- COMMAND ...", nargs=argparse.REMAINDER, help="what every rank runs")


def run(args: argparse.Namespace) -> int:
    """Check everything on this machine, then run the job. Exit code 0; 1 when a rank failed; 2 for wrong input."""
    from ms_omni.cli.quiet import results_only_on_stdout
    from ms_omni.hardware.cards import check_cards, device_here
    from ms_omni.hardware.machine import Machine
    from ms_omni.parallel.job import Job
    from ms_omni.parallel.msrun import find_msrun, job_environment, job_settings, msrun_line, shell_text

    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    user = dict(os.environ)  # before libraries are kept quiet here
    if args.dry_run:  # perhaps of another machine: its model and cards need not be here
        _check_command(words)
        device = _device_of(words) or device_here(Machine())
    else:
        with results_only_on_stdout(args.debug):
            server = _check_words(words, args)
        device = "CPU" if _device_of(words) == "CPU" else check_cards(Machine(), args.cards)
    spec = _spec(args, words, binds_cores=args.bind_core == "on" or (args.bind_core == "auto" and device == "Ascend"))
    num_cores = len(os.sched_getaffinity(0))
    settings = job_settings(spec, user, device, num_cores, debug=args.debug)
    if args.dry_run:
        print(shell_text(msrun_line(spec, find_msrun()), settings))
        return 0
    make_directory(spec.log_dir, "--log-dir")
    write_text(spec.log_dir / "msrun.log", "", "--log-dir")
    print_note(f"starting {args.cards} {'ranks' if args.cards > 1 else 'rank'}; logs: {spec.log_dir}")
    if is_terminal(sys.stderr):
        settings.setdefault(INTERVAL_VARIABLE, "1")
    if spec.node_rank > 0:
        print_note(f"ranks {spec.local_ranks[0]} to {spec.local_ranks[-1]} run here; the result appears on machine 0")
    environment = job_environment(settings, user)
    if server is not None and spec.node_rank == 0:
        return _serve(spec, environment, server)
    try:
        return Job(spec, msrun_line(spec, find_msrun()), environment, sys.stdout, sys.stderr).run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_goes_on(words)) from None


def _serve(spec: JobSpec, environment: Mapping[str, str], job: ServeJob) -> int:
    """Clients talk to this process, which outlives any rank and answers 503 when the ranks cannot answer any more."""
    from ms_omni.cli.serve import END_S, serving_extra
    from ms_omni.parallel.job import Job
    from ms_omni.parallel.msrun import find_msrun, msrun_line

    with serving_extra():
        from ms_omni.server.proxy import Proxy

    listener, address = job.listen()
    print_note(f"listening at {address}")
    with TemporaryDirectory(prefix="ms-omni-") as private:  # a socket's path must be short
        ranks = Path(private) / "ranks"
        spec = replace(spec, words=(*spec.words, "--uds", str(ranks)))
        proxy = Proxy(listener, ranks, job.server)
        proxy.start()
        try:
            line = msrun_line(spec, find_msrun())
            return Job(spec, line, environment, sys.stdout, sys.stderr, job.server.grace_s + END_S).run()
        finally:
            proxy.close()


def _goes_on(words: list[str]) -> str:
    """What to do after an interrupt; "" for a batch with --restart, which may or may not have begun anew."""
    goes_on_by_itself = words[0] == "batch" and "--restart" not in words
    if not goes_on_by_itself and not any(word.split("=")[0] == "--transcript" for word in words):
        return ""
    return goes_on()


def _spec(args: argparse.Namespace, words: list[str], binds_cores: bool) -> JobSpec:
    from ms_omni.parallel.msrun import SEVERAL_MACHINES_PORT, JobSpec, check_port, free_port

    several = args.nodes > 1
    if several and (args.node_rank is None or args.master_addr is None):
        raise OmniError(f"--nodes {args.nodes}: also needs --node-rank (0 to {args.nodes - 1}) and --master-addr")
    if not several and args.node_rank:
        raise OmniError(f"--node-rank {args.node_rank}: needs --nodes, the number of machines")
    is_master = not args.node_rank
    port = args.master_port or (SEVERAL_MACHINES_PORT if several else free_port())
    if is_master:
        check_port(port)
    return JobSpec(
        cards=args.cards,
        words=tuple(words),
        log_dir=args.log_dir or _LOG_ROOT / str(port),
        group_size=args.group_size,
        nodes=args.nodes,
        node_rank=args.node_rank or 0,
        master_addr=args.master_addr or "127.0.0.1",
        master_port=port,
        time_out_s=args.time_out,
        binds_cores=binds_cores,
    )


def _device_of(words: list[str]) -> str | None:
    """What a command says of `--device`: CPU or Ascend; None for nothing or auto."""
    given = None
    for word, following in zip(words, [*words[1:], None], strict=True):
        if word == "--device":
            given = following
        elif word.startswith("--device="):
            given = word.removeprefix("--device=")
    return None if given == "auto" else given


def _check_command(words: list[str]) -> argparse.Namespace | None:
    """The flags of the command as its own parser reads them; None for a script."""
    allowed = [command for command in COMMANDS if command != "launch"]
    if not words:
        raise OmniError("nothing to launch: expected -- and a command, such as -- understand --text Hello")
    if words[0].endswith(".py"):
        if not Path(words[0]).is_file():
            raise OmniError(f"{words[0]}: no such script")
        return None
    if words[0] not in allowed:
        guess = did_you_mean(words[0], allowed)
        raise OmniError(f"launch cannot run {words[0]!r}{guess}; expected one of {', '.join(allowed)}, or a script.py")
    if "--conversation=-" in words or ("--conversation", "-") in pairwise(words):
        raise OmniError("--conversation -: the ranks have no common stdin; write it to a file and name that")
    return command_parser(words[0]).parse_args(words[1:])


def _check_words(words: list[str], job: argparse.Namespace) -> ServeJob | None:
    """Finds what is wrong with the command here, once, and not in every rank. Returns the job of a server, None for
    other commands. job: the flags of `launch`."""
    args = _check_command(words)
    if args is None or words[0] not in ("understand", "batch", "serve"):
        return None
    from ms_omni.cli.settings import merge_settings

    group_size, server = job.group_size or job.cards * job.nodes, None
    settings = merge_settings(args, words[0])
    if words[0] == "understand":
        from ms_omni.cli.understand.request import check_request

        engine = check_request(settings).engine
    elif words[0] == "batch":
        from ms_omni.cli.batch.job import check_batch

        engine = check_batch(settings, args.restart).engine
    else:
        from ms_omni.cli.serve import check_serve

        if group_size != job.cards * job.nodes:  # clients reach several through a proxy
            raise OmniError(
                f"--group-size {group_size}: a server has one model, shared by all {job.cards * job.nodes} cards; "
                "start a server for each group (docs/scale-out.md)"
            )
        server = check_serve(settings)
        engine = server.engine
    _check_sharing(engine, group_size)
    return server


def _check_sharing(engine: EngineConfig, group_size: int) -> None:
    """Raises OmniError for a model that so many cards cannot share, before all of them load MindSpore."""
    if engine.parallel in ("none", "auto"):
        return
    from ms_omni.checkpoint.config import read_config
    from ms_omni.parallel.sizes import ModelSizes
    from ms_omni.parallel.table import check_world

    check_world(engine.parallel, group_size, ModelSizes.from_config(read_config(engine.model)))
