"""Bytes that decoding a token must read, and bytes a second that this device can read."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np

from ms_omni.errors import OmniError

_MATRIX_BYTES = 128 << 20  # larger than the caches of a processor
_TRIES = 5


def thinker_reads(engine: Any, context: float, batch: int = 1) -> float:
    """Bytes that the busiest card reads for one decoding step of `batch` conversations, each with `context` tokens in
    the cache, as `plan` computes them. engine: an OmniEngine."""
    from ms_omni.planning.hardware import find_hardware
    from ms_omni.planning.memory import Planned
    from ms_omni.planning.speed import thinker_read_bytes

    # The hardware does not change what is read
    planned = Planned(engine.config, find_hardware("cpu"), engine.dtype, engine.has_talker, engine.quantize)
    return thinker_read_bytes(planned, int(context), engine.parallel, engine.world.group_size, batch)


def device_bandwidth(engine: Any) -> tuple[float | None, str]:
    """Bytes a second, None for an unknown card; and where the figure comes from."""
    if engine.device == "CPU":
        rate = host_bandwidth()
        return rate, f"memory bandwidth: {rate / 1e9:.1f} GB/s, measured with a matrix-vector product of numpy"
    from ms_omni.planning.hardware import find_hardware
    from ms_omni.runtime.card import card_name

    name = card_name()
    try:
        hardware = find_hardware(name)
    except OmniError:
        return None, f"memory bandwidth: that of {name} is not known, and no share of it"
    return hardware.bandwidth, f"memory bandwidth: {hardware.bandwidth / 1e12:.1f} TB/s, as documented"


@cache
def host_bandwidth() -> float:
    """Bytes a second that numpy reads in a matrix-vector product, the best of _TRIES."""
    matrix = np.ones((_MATRIX_BYTES // 4096 // 4, 4096), np.float32)
    vector = np.ones(matrix.shape[1], np.float32)
    seconds = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        np.dot(matrix, vector)
        seconds.append(time.perf_counter() - start)
    return matrix.nbytes / min(seconds)
