"""The card that this process runs on, as MindSpore and CANN describe it, and how much of it MindSpore may take."""

from __future__ import annotations

import ctypes
import logging
import os
from functools import cache
from typing import Any

from ms_omni.config import CAPTURED_WAYS
from ms_omni.errors import OmniError
from ms_omni.parallel.world import is_scheduler, is_under_msrun
from ms_omni.planning.hardware import Hardware, measured_hardware

logger = logging.getLogger(__name__)

_captures: list[str] = []  # of this process, one at most

GIB = 1 << 30
MIB = 1 << 20
# MindSpore's own rule: a sixteenth of what is free stays outside its pool, for CANN's contexts and streams.
_POOL_SHARE = 15 / 16
# Two buffers of HCCL_BUFFSIZE MiB for every communicator, allocated outside the pool: the job's, and the group's.
_HCCL_BUFFERS = 2
_HCCL_BUFFSIZE = 200
_COMMUNICATORS = 2
# On fewer, MindSpore 2.7.1 does not look for the lengths of PagedAttention (kernels/decoder_ops_ascend_paged.py).
_LEAST_CORES = 12
# Operators that stay outside captures, by the names of graphs: what copies to the card and back, and collectives, whose
# streams a capture would take from the card's few (docs/decode-on-ascend.md).
_NOT_CAPTURED = ("MoveTo", "AllReduce", "AllGather")
# On fewer, MindSpore 2.7.1 does not run graphs kernel by kernel in the way that it captures.
_LEAST_CORES_TO_CAPTURE = 16


def card_name() -> str:
    """CANN's name of the card: Ascend910B2, Ascend910_9392."""
    import mindspore as ms

    return str(ms.hal.get_device_name(_index()))


def card_properties() -> Any:
    """MindSpore's properties of this card: name, total_memory and free_memory in bytes (0 where it does not know)."""
    import mindspore as ms

    return ms.hal.get_device_properties(_index())


def card_hardware() -> Hardware:
    """What a plan assumes about this card; a warning in the log says what is unknown."""
    hardware, note = measured_hardware(card_name(), int(card_properties().total_memory))
    if note:
        logger.warning("%s", note)
    return hardware


def check_cores() -> None:
    """Raises OmniError for a host on which MindSpore cannot decode with paged caches."""
    cores = _cores()
    if cores < _LEAST_CORES:
        raise OmniError(
            f"--device Ascend: this process has {cores} cores of the host, MindSpore's paged attention needs "
            f"{_LEAST_CORES}: give it more (with ranks, --bind-core off), or use --engine mindone"
        )


def start_capture(decoder: str, device: str, parallel: str) -> None:
    """Lets MindSpore capture the launches of one decoder's graph; call it before anything is loaded. parallel: how the
    model is shared. Raises OmniError where launches cannot be captured."""
    import mindspore as ms

    flag = f"--launch-capture {decoder}"
    if device != "Ascend":
        raise OmniError(f"{flag}: --device {device} has no captured launches; use none")
    if parallel not in CAPTURED_WAYS:
        raise OmniError(f"{flag}: graphs that gather weights are not captured; use --parallel none, ep or tp")
    if _cores() < _LEAST_CORES_TO_CAPTURE:
        raise OmniError(f"{flag}: this process has {_cores()} cores of the host, {_LEAST_CORES_TO_CAPTURE} are needed")
    if _captures:
        raise OmniError(f"{flag}: an engine of this process has captured its {_captures[0]}; MindSpore does so once")
    _captures.append(decoder)
    ms.runtime.set_kernel_launch_capture(True, op_capture_skip=list(_NOT_CAPTURED))


def _cores() -> int:
    """The cores that this process may run on, counted as MindSpore does."""
    return ctypes.CDLL(None).get_nprocs()


@cache
def limit_pool() -> int | None:
    """The most bytes that MindSpore's memory pool may hold on this card. The first call sets that limit; it must come
    after set_device and before anything is allocated. None where the card does not say how much is free, and in msrun's
    scheduler, which has no card. Raises OmniError for a card with less than 1 GiB free.

    Without the limit the pool would grow into the memory that HCCL needs, and what fits could not be known before
    loading."""
    import mindspore as ms

    if is_scheduler():
        return None
    free = int(card_properties().free_memory)
    if free == 0:
        return None
    whole_gib = pool_bytes(free, _communicators(), os.environ.get("HCCL_BUFFSIZE", "")) // GIB
    if whole_gib == 0:
        raise OmniError(f"--device Ascend: {free / GIB:.1f} GiB of the card are free: end what else runs on it")
    try:
        ms.runtime.set_memory(init_size="1GB", increase_size="1GB", max_size=f"{whole_gib}GB")
    except RuntimeError:  # the program that uses this package has set it, and MindSpore does not tell to what
        return int(free * _POOL_SHARE)
    return whole_gib * GIB


def start_card() -> None:
    """Starts this process's card: after `limit_pool` and joining the job, before the first operator.

    MindSpore 2.7.1 starts it in the first thread that needs it, its launching thread or one that waits, without a lock.
    Two at once end in a null pointer or a crash (seen once in 100 processes)."""
    import mindspore as ms

    ms.runtime.synchronize()


def pool_bytes(free_bytes: int, communicators: int, buffsize: str) -> int:
    """The pool's share of `free_bytes`. buffsize: HCCL_BUFFSIZE in MiB, "" if it is not set."""
    each = _HCCL_BUFFERS * (int(buffsize) if buffsize.isdigit() else _HCCL_BUFFSIZE) * MIB
    return max(0, int(free_bytes * _POOL_SHARE) - communicators * each)


def _communicators() -> int:
    """The most that this process may have; its groups are not known yet."""
    return _COMMUNICATORS if is_under_msrun() else 0


def _index() -> int:
    """The number of this process's card among the visible ones."""
    import mindspore as ms

    return int(ms.get_context("device_id"))
