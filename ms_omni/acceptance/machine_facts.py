"""What this card and this process say of themselves."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.findings import Finding
from ms_omni.acceptance.privacy import variables
from ms_omni.runtime.card import card_properties


def run(bench: Bench) -> None:
    """Facts, and whether the card computes at all."""
    bench.check("the card", lambda: Finding(figures=_card(bench)))
    bench.check("the process", lambda: Finding(figures=_process()))
    bench.check("one sum", _one_sum)


def _card(bench: Bench) -> dict[str, Any]:
    import mindspore as ms

    ms.Tensor(np.zeros(1, np.float32)) + 1  # a card says 0 bytes free before its first use
    properties = card_properties()
    return {
        "soc": str(properties.name),
        "total_memory_bytes": int(properties.total_memory),
        "free_memory_bytes": int(properties.free_memory),
        "rank": bench.world.rank,
        "ranks": bench.world.world_size,
    }


def _process() -> dict[str, Any]:
    from ms_omni.profiling.environment import versions

    return {
        "versions": versions(),
        "host_cores": os.cpu_count(),
        "host_cores_allowed": len(os.sched_getaffinity(0)),
        "host_memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "variables": variables(),
    }


def _one_sum() -> Finding:
    import mindspore as ms

    made = (ms.Tensor(np.arange(1000, dtype=np.float32)) + 1).sum()
    return Finding(abs(float(made.asnumpy()) - 500_500.0), 0.0, "of a sum of 1 to 1000")
