"""Which process of a job this is, and who works with it. The only module that reads the rank environment."""

from __future__ import annotations

import atexit
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ms_omni.errors import OmniError

GROUP_SIZE_VARIABLE = "MS_OMNI_GROUP_SIZE"
TRANSPORT_VARIABLE = "MS_OMNI_CPU_TRANSPORT"
TRANSPORTS = ("mccl", "sockets")
# What one msrun leaves in the environment of its processes: in another job these would be lies.
RANK_VARIABLES = (
    "MS_ROLE",
    "MS_WORKER_NUM",
    "MS_SCHED_HOST",
    "MS_SCHED_PORT",
    "MS_NODE_ID",
    "MS_NODE_RANK",
    "MS_TOPO_TIMEOUT",
    "MS_SIMULATION_LEVEL",
    "MS_WORKER_IP",
    "MSRUN_CPU_LIST",
    "RANK_ID",
    "RANK_SIZE",
    "RANK_TABLE_FILE",
    "DEVICE_ID",
)
# mccl gives a collective up after MS_NODE_TIMEOUT, by default 30 s: less than it takes another rank to compile a graph.
CPU_WAIT_S = 600
# mccl's last collective waits for an acknowledgement that a process which has ended at once no longer sends.
CPU_LINGER_S = 0.5


@dataclass(frozen=True)
class World:
    """This process among those of its job. Consecutive ranks form groups of `group_size`: one model is spread over a
    group, and every group (a replica) has a whole model. `ops` are the collectives of the group (None in a world of
    one, and where shards are only computed)."""

    rank: int = 0
    world_size: int = 1
    group_size: int = 1
    device: str = "CPU"
    ops: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_group_size(self.group_size, self.world_size)
        assert 0 <= self.rank < self.world_size, self

    @property
    def group_rank(self) -> int:
        return self.rank % self.group_size

    @property
    def replica(self) -> int:
        return self.rank // self.group_size

    @property
    def num_replicas(self) -> int:
        return self.world_size // self.group_size

    @property
    def group(self) -> str | None:
        """Name of the group's communicator; None where the group is the whole world."""
        return None if self.group_size == self.world_size else f"ms_omni_{self.replica}"

    @property
    def group_ranks(self) -> tuple[int, ...]:
        """The group's members, as ranks of the world."""
        first = self.replica * self.group_size
        return tuple(range(first, first + self.group_size))

    @property
    def is_writer(self) -> bool:
        """Whether this process prints and writes for the job."""
        return self.rank == 0

    @property
    def is_leader(self) -> bool:
        """Whether this process decides for its group: what is computed next, and which token is picked."""
        return self.group_rank == 0


def check_group_size(group_size: int, world_size: int) -> None:
    if group_size < 1 or world_size % group_size:
        allowed = ", ".join(str(size) for size in range(1, world_size + 1) if world_size % size == 0)
        raise OmniError(
            f"--group-size {group_size}: does not divide the {world_size} processes of the job; allowed: {allowed}"
        )


def is_under_msrun() -> bool:
    """Whether msrun started this process, as one of the ranks or as their scheduler."""
    return os.environ.get("MS_ROLE") in ("MS_WORKER", "MS_SCHED")


def is_scheduler() -> bool:
    """msrun starts the program once more, to bring the ranks together; that process never gets out of start_world."""
    return os.environ.get("MS_ROLE") == "MS_SCHED"


def rank_before_start() -> int | None:
    """This process's rank as msrun announced it; None for the scheduler, and where ranks are given out later."""
    rank = os.environ.get("MS_NODE_ID", "")
    return int(rank) if rank.isdigit() and not is_scheduler() else None


def cpu_transport() -> str:
    """Who carries the collectives of a whole world on CPU: MindSpore (`mccl`), or `sockets` as in smaller groups."""
    name = os.environ.get(TRANSPORT_VARIABLE, TRANSPORTS[0])
    if name not in TRANSPORTS:
        raise OmniError(f"{TRANSPORT_VARIABLE}={name}: expected one of {', '.join(TRANSPORTS)}")
    return name


def start_world(device: str, group_size: int | None = None) -> World:
    """Meet the other processes and form the groups; a world of one without msrun. Blocks until all have come.

    `device` is "CPU" or "Ascend", already set. `group_size` None takes MS_OMNI_GROUP_SIZE, else the whole world.
    In msrun's scheduler this ends the process, when the job is done. Raises OmniError for a group size that does not
    divide the job's processes.
    """
    if not is_under_msrun():
        return World(device=device, group_size=1 if group_size is None else group_size)
    from mindspore.communication import get_group_size, get_rank, init

    on_cpu = device == "CPU"
    if on_cpu and not is_scheduler():
        os.environ.setdefault("MS_NODE_TIMEOUT", str(CPU_WAIT_S))
    init("mccl" if on_cpu else "hccl")
    if is_scheduler():
        raise SystemExit(0)
    _calm_msrun()
    if on_cpu:
        atexit.register(time.sleep, CPU_LINGER_S)
    world_size = get_group_size()
    world = World(get_rank(), world_size, _group_size(group_size, world_size), device)
    from ms_omni.parallel.collectives import connect

    return connect(world)


def _group_size(given: int | None, world_size: int) -> int:
    if given is not None:
        return given
    text = os.environ.get(GROUP_SIZE_VARIABLE) or str(world_size)
    if not text.isdigit():
        raise OmniError(f"{GROUP_SIZE_VARIABLE}={text}: expected a whole number")
    return int(text)


def _calm_msrun() -> None:
    """msrun --join polls its processes without a pause and takes a core from them: let it take only what is over."""
    with suppress(OSError):
        parent = os.getppid()
        if b"msrun" in Path(f"/proc/{parent}/cmdline").read_bytes():
            os.setpriority(os.PRIO_PROCESS, parent, 19)


def own_address() -> str:
    """The address under which the other machines of the job see this one."""
    host = os.environ.get("MS_SCHED_HOST", "127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 1))  # sends nothing; picks the interface
        return probe.getsockname()[0]
