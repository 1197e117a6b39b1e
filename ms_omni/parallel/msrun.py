"""The msrun command line of a job, and its environment."""

from __future__ import annotations

import random
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ms_omni.errors import OmniError
from ms_omni.mindspore_version import TESTED
from ms_omni.parallel.world import GROUP_SIZE_VARIABLE, RANK_VARIABLES, check_group_size

SEVERAL_MACHINES_PORT = 8118  # msrun's own default; all machines must name the same one
_DRAWN_PORTS = (20_000, 32_000)  # below Linux' ephemeral ports, which begin at 32768


@dataclass(frozen=True)
class Setting:
    """An environment variable of launched jobs, unless the user has set it. device: None for all. one_communicator: set
    only if all cards of one machine share one model."""

    name: str
    value: str
    device: str | None
    why: str
    one_communicator: bool = False


# docs/several-cards.md shows this table
SETTINGS = (
    Setting("PYTHONUNBUFFERED", "1", None, "output appears as it is written"),
    Setting("GLOG_v", "3", None, "MindSpore logs errors only (not with --debug)"),
    Setting("HCCL_CONNECT_TIMEOUT", "1800", "Ascend", "seconds; ranks load unevenly, and 120 is HCCL's default"),
    # CANN 8.3.RC1, HCCL_OP_EXPANSION_MODE: not for several communicators at once; some collectives on one machine only
    Setting("HCCL_OP_EXPANSION_MODE", "AIV", "Ascend", "collectives begun by the card, not by the host", True),
    Setting("OMP_NUM_THREADS", "cores / cards", "CPU", "ranks of one machine share its cores"),
)


@dataclass(frozen=True)
class JobSpec:
    """A job of `nodes` machines with `cards` processes each; this machine is number `node_rank`. `words` is the
    program: a command of ms-omni with its flags, or a Python script with its arguments."""

    cards: int
    words: tuple[str, ...]
    log_dir: Path
    group_size: int | None = None
    nodes: int = 1
    node_rank: int = 0
    master_addr: str = "127.0.0.1"
    master_port: int = SEVERAL_MACHINES_PORT
    time_out_s: int = 300
    binds_cores: bool = False

    def __post_init__(self) -> None:
        if self.nodes > 1 and not 0 <= self.node_rank < self.nodes:
            raise OmniError(f"--node-rank {self.node_rank}: expected 0 to {self.nodes - 1}, one number a machine")
        if self.group_size is not None:
            check_group_size(self.group_size, self.world_size)

    @property
    def world_size(self) -> int:
        """Processes of all machines together."""
        return self.cards * self.nodes

    @property
    def local_ranks(self) -> range:
        """The ranks that run on this machine."""
        return range(self.node_rank * self.cards, (self.node_rank + 1) * self.cards)


def msrun_line(spec: JobSpec, msrun: str) -> list[str]:
    """The words of the msrun command. Every process runs `spec.words` through rank_program."""
    line = [msrun, f"--worker_num={spec.world_size}", f"--local_worker_num={spec.cards}"]
    line += [f"--master_addr={spec.master_addr}", f"--master_port={spec.master_port}"]
    if spec.nodes > 1:
        line.append(f"--node_rank={spec.node_rank}")
    line += [f"--log_dir={spec.log_dir}", "--join=True", f"--cluster_time_out={spec.time_out_s}"]
    if spec.binds_cores:
        line.append("--bind_core=True")
    # no such rank: msrun shows no log itself, since it would mix both streams on stdout
    line.append(f"--tail_worker_log={spec.world_size}")
    return [*line, "python", "-m", "ms_omni.parallel.rank_program", str(spec.log_dir), *spec.words]


def job_settings(
    spec: JobSpec, user: Mapping[str, str], device: str, num_cores: int, debug: bool = False
) -> dict[str, str]:
    """Environment variables to add for the job, without those that the user has set. PATH begins with this Python's
    directory, because msrun starts the first `python` on it."""
    one_communicator = spec.nodes == 1 and spec.group_size in (None, spec.world_size)
    fitting = (s for s in SETTINGS if s.device in (None, device) and (one_communicator or not s.one_communicator))
    values = {s.name: s.value for s in fitting}
    if device == "CPU":
        values["OMP_NUM_THREADS"] = str(max(1, num_cores // spec.cards))
    if debug:
        del values["GLOG_v"]
    settings = {name: value for name, value in values.items() if name not in user}
    if spec.group_size is not None:
        settings[GROUP_SIZE_VARIABLE] = str(spec.group_size)
    settings["PATH"] = f"{Path(sys.executable).parent}:{user.get('PATH', '/usr/bin:/bin')}"
    return settings


def job_environment(settings: Mapping[str, str], user: Mapping[str, str]) -> dict[str, str]:
    """The whole environment: the user's, without the rank variables of another job, and the settings."""
    return {**{name: value for name, value in user.items() if name not in RANK_VARIABLES}, **settings}


def shell_text(line: list[str], settings: Mapping[str, str]) -> str:
    """The same as shell commands, to read or to paste."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    return "\n".join([f"unset {' '.join(RANK_VARIABLES)}", *exports, shlex.join(line)])


def find_msrun() -> str:
    """msrun of this Python's MindSpore, else the one on PATH."""
    beside = Path(sys.executable).parent / "msrun"
    found = str(beside) if beside.is_file() else shutil.which("msrun")
    if found is None:
        raise OmniError(
            f"msrun: neither beside {sys.executable} nor on PATH; it comes with pip install mindspore=={TESTED}"
        )
    return found


def free_port() -> int:
    """A random free port below the ephemeral range, so that no other connection is likely to take it before msrun
    listens there. Raises OmniError if none is found."""
    for _ in range(100):
        port = random.SystemRandom().randrange(*_DRAWN_PORTS)
        if _is_free(port):
            return port
    raise OmniError(f"--master-port: no free port found from {_DRAWN_PORTS[0]} to {_DRAWN_PORTS[1]}; name one")


def check_port(port: int) -> None:
    """Raises OmniError when another program listens on the port."""
    if not 1024 <= port <= 65535:
        raise OmniError(f"--master-port {port}: expected 1024 to 65535")
    if not _is_free(port):
        raise OmniError(
            f"--master-port {port}: in use on this machine; name another port, or on one machine leave the flag "
            "out to get a free one"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # as servers do: a port in TIME_WAIT counts as free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
