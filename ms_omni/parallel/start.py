"""Joins the job that msrun started, and connects the processes of each group."""

from __future__ import annotations

import atexit
import os
import time
from contextlib import suppress
from pathlib import Path

from ms_omni.parallel.world import (
    CPU_WAIT_S,
    World,
    group_size_from_environment,
    is_scheduler,
    is_under_msrun,
)

# mccl's last collective waits for an acknowledgement that a process which ends at once no longer sends.
CPU_LINGER_S = 0.5


def start_world(device: str, group_size: int | None = None) -> World:
    """Joins the job that msrun started and forms its groups; without msrun, a world of one. Blocks until all ranks have
    joined.

    `device` is "CPU" or "Ascend", already set. `group_size` None takes MS_OMNI_GROUP_SIZE, else the whole world.
    In msrun's scheduler this ends the process, when the job is done. Raises OmniError for a group size that does not
    divide the job's processes.
    """
    if not is_under_msrun():
        return World(device=device, group_size=1 if group_size is None else group_size)
    from mindspore.communication import get_group_size, get_rank, init

    from ms_omni.parallel.collectives import connect

    on_cpu = device == "CPU"
    if on_cpu and not is_scheduler():
        os.environ.setdefault("MS_NODE_TIMEOUT", str(CPU_WAIT_S))
    init("mccl" if on_cpu else "hccl")
    if is_scheduler():
        raise SystemExit(0)
    _lower_priority_of_msrun()
    if on_cpu:
        atexit.register(time.sleep, CPU_LINGER_S)
    world_size = get_group_size()
    if group_size is None:
        group_size = group_size_from_environment(world_size)
    world = World(get_rank(), world_size, group_size, device)
    return connect(world)


def _lower_priority_of_msrun() -> None:
    """`msrun --join` polls its processes in a busy loop: the lowest priority leaves the cores to the ranks."""
    with suppress(OSError):
        parent = os.getppid()
        if b"msrun" in Path(f"/proc/{parent}/cmdline").read_bytes():
            os.setpriority(os.PRIO_PROCESS, parent, 19)
