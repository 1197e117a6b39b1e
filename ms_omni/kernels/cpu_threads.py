"""Waiting for a graph on a machine of few cores without slowing down the threads that run it.

MindSpore splits even an operator on 256 numbers over two threads, which wait for each other by yielding, while whoever
reads a result spins. On two cores one of the three is always descheduled, mostly one that the others wait for, and for
milliseconds. Measured on two busy cores, medians of a Talker frame of the bench checkpoint: 200 ms, with the two on one
core 107 ms, and with the third at low priority 89 ms. With a core for each thread nothing needs to be done.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FEW_CORES = 2
LOWEST_PRIORITY = 19
RUNTIME_THREADS = ("ActorThread", "KernelThread")


def fetch(tensor: Any) -> np.ndarray:
    """The tensor's values, any shape and dtype, when the device has computed them."""
    waiter = _waiter()
    return tensor.asnumpy() if waiter is None else waiter.submit(tensor.asnumpy).result()


@cache
def _waiter() -> ThreadPoolExecutor | None:
    """A thread for waiting, or None where there are cores enough, or another device computes. The first graph has been
    called by now: MindSpore's threads are there to be moved."""
    import mindspore as ms

    if ms.get_context("device_target") != "CPU" or not sys.platform.startswith("linux"):
        return None
    cores = os.sched_getaffinity(0)
    if len(cores) > FEW_CORES:
        return None
    try:
        for thread in _runtime_threads():
            os.sched_setaffinity(thread, {max(cores)})
    except OSError:  # not allowed here: slower, nothing else
        return None
    return ThreadPoolExecutor(1, thread_name_prefix="ms-omni-wait", initializer=_lower_priority)


def _runtime_threads() -> list[int]:
    """Ids of this process's threads that run graphs."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(task.name) for task in tasks if (task / "comm").read_text().startswith(RUNTIME_THREADS)]


def _lower_priority() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
