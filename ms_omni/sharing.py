"""An engine's process among those of its job."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from ms_omni.config import EngineConfig
from ms_omni.errors import OmniError
from ms_omni.parallel.world import World, is_under_msrun, start_world

logger = logging.getLogger(__name__)


def join_job(settings: EngineConfig, device: str, dtype: str, config: Any) -> tuple[World, str]:
    """This process among those of its job, and how its group shares the model: none, zero3, ep or tp. Waits for the
    others. config: transformers' Qwen3OmniMoeConfig. Raises OmniError for sharing without a job."""
    mode = settings.parallel
    if not is_under_msrun():
        if mode not in ("none", "auto"):
            raise OmniError(
                f"--parallel {mode}: this is one process; start as many as cards with ms-omni launch --cards N"
            )
        return World(device=device), "none"
    world = start_world(device, 1 if mode == "none" else None)
    if mode == "auto":
        mode, reason = _choose(settings, world.group_size, device, dtype, config)
        logger.info("--parallel auto: %s for groups of %d: %s", mode, world.group_size, reason)
    if mode == "none":  # whole models need no groups
        world = replace(world, group_size=1, ops=None)
    return world, mode


def _choose(settings: EngineConfig, cards: int, device: str, dtype: str, config: Any) -> tuple[str, str]:
    if cards == 1:
        return "none", "one card a model"
    if settings.engine == "mindone":
        return "zero3", "the only way to share mindone's layers"
    from ms_omni.planning.choose import choose_parallel
    from ms_omni.runtime.card import card_hardware

    hardware = "cpu" if device == "CPU" else card_hardware()
    return choose_parallel(config, cards, hardware, dtype=dtype, speak=settings.with_talker)


def agreed_seed(seed: int | None, world: World) -> int | None:
    """`seed`, or, where there is none, one that the group's leader draws: ranks with one conversation must pick
    alike."""
    if seed is not None or world.group_size == 1:
        return seed
    from mindspore import Tensor

    from ms_omni.parallel.collectives import broadcast

    drawn = np.random.SeedSequence().generate_state(1)[:1] >> 1
    return int(broadcast(Tensor(drawn.astype(np.int32)), world).asnumpy()[0])
