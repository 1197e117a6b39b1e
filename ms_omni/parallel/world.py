"""This process's place in its job and group. The only module that reads the rank environment."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import Any

from ms_omni.errors import OmniError

GROUP_SIZE_VARIABLE = "MS_OMNI_GROUP_SIZE"
TRANSPORT_VARIABLE = "MS_OMNI_CPU_TRANSPORT"
TRANSPORTS = ("mccl", "sockets")
# Variables that msrun sets for its processes; a nested job must not inherit them
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
# A collective between CPU processes may wait this long: another rank may be compiling a graph. (mccl's default, the
# variable MS_NODE_TIMEOUT, is 30 s.)
CPU_WAIT_S = 600


@dataclass(frozen=True)
class World:
    """This process among those of its job. Consecutive ranks form groups of `group_size`; each group is a replica,
    whose ranks share one model. `ops`: the collectives of the group (None in a world of one, and where only shards are
    computed)."""

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
        """Rank within the group."""
        return self.rank % self.group_size

    @property
    def replica(self) -> int:
        """Number of this process's group."""
        return self.rank // self.group_size

    @property
    def num_replicas(self) -> int:
        """Number of groups, each with a whole model."""
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
        """Whether this process schedules its group's steps and samples its tokens."""
        return self.group_rank == 0


def check_group_size(group_size: int, world_size: int) -> None:
    """Raises OmniError, naming the sizes that divide `world_size`."""
    if group_size < 1 or world_size % group_size:
        allowed = ", ".join(str(size) for size in range(1, world_size + 1) if world_size % size == 0)
        raise OmniError(
            f"--group-size {group_size}: does not divide the {world_size} processes of the job; allowed: {allowed}"
        )


def is_under_msrun() -> bool:
    """Whether msrun started this process, as one of the ranks or as their scheduler."""
    return os.environ.get("MS_ROLE") in ("MS_WORKER", "MS_SCHED")


def is_scheduler() -> bool:
    """Whether this process is msrun's scheduler: the program is started once more for it, and ends in start_world."""
    return os.environ.get("MS_ROLE") == "MS_SCHED"


def rank_before_start() -> int | None:
    """The rank that msrun has set in the environment; None for the scheduler, and if ranks are assigned later."""
    rank = os.environ.get("MS_NODE_ID", "")
    return int(rank) if rank.isdigit() and not is_scheduler() else None


def writes_before_start() -> bool:
    """Whether this process prints and writes, as far as that is known before the ranks meet. Where they are assigned
    later every process does: the same content, each time whole."""
    return not is_scheduler() and rank_before_start() in (0, None)


def group_size_from_environment(world_size: int) -> int:
    """MS_OMNI_GROUP_SIZE, or the whole world where it is not set. Raises OmniError for what is no number."""
    text = os.environ.get(GROUP_SIZE_VARIABLE) or str(world_size)
    if not text.isdigit():
        raise OmniError(f"{GROUP_SIZE_VARIABLE}={text}: expected a whole number")
    return int(text)


def cpu_transport() -> str:
    """What carries the collectives of a whole world on CPU: MindSpore (`mccl`), or `sockets` as in smaller groups."""
    name = os.environ.get(TRANSPORT_VARIABLE, TRANSPORTS[0])
    if name not in TRANSPORTS:
        raise OmniError(f"{TRANSPORT_VARIABLE}={name}: expected one of {', '.join(TRANSPORTS)}")
    return name


def own_address() -> str:
    """The address under which the other machines of the job see this one."""
    host = os.environ.get("MS_SCHED_HOST", "127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 1))  # sends nothing; picks the interface
        return probe.getsockname()[0]
