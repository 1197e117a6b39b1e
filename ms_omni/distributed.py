"""An engine's process among those of its job: which model it shares, and with whom it computes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ms_omni.config import EngineConfig
from ms_omni.errors import OmniError
from ms_omni.parallel.message_links import connect_group
from ms_omni.parallel.start import start_world
from ms_omni.parallel.world import World, is_under_msrun
from ms_omni.scheduling.follower import Follower
from ms_omni.scheduling.loop import EngineLoop
from ms_omni.scheduling.shared import LeaderLoop, SharedExecutor
from ms_omni.scheduling.steps import Executor

logger = logging.getLogger(__name__)


def join_job(settings: EngineConfig, device: str, dtype: str, config: Any, quantize: str = "none") -> tuple[World, str]:
    """This process among those of its job, and how its group shares the model: none, zero3, ep or tp. Waits for the
    others. config: transformers' Qwen3OmniMoeConfig. quantize: none, int8 or int8-dynamic, what settings.quantize came
    to. Raises OmniError for sharing without a job."""
    mode = settings.parallel
    if not is_under_msrun():
        if mode not in ("none", "auto"):
            raise OmniError(
                f"--parallel {mode}: this is one process; start as many as cards with ms-omni launch --cards N"
            )
        return World(device=device), "none"
    world = start_world(device, 1 if mode == "none" else None)
    if mode == "auto":
        mode, reason = _choose(settings, world.group_size, device, dtype, config, quantize)
        logger.info("--parallel auto: %s for groups of %d: %s", mode, world.group_size, reason)
    if mode == "none":  # whole models need no groups
        world = replace(world, group_size=1, ops=None)
    return world, mode


def _choose(settings: EngineConfig, cards: int, device: str, dtype: str, config: Any, quantize: str) -> tuple[str, str]:
    if cards == 1:
        return "none", "one card a model"
    if settings.engine == "mindone":
        return "zero3", "the only way to share mindone's layers"
    from ms_omni.planning.choose import choose_parallel
    from ms_omni.runtime.card import card_hardware

    hardware = "cpu" if device == "CPU" else card_hardware()
    return choose_parallel(config, cards, hardware, dtype=dtype, speak=settings.with_talker, quantize=quantize)


def make_loop(executor: Executor, decode: Callable[[list[int]], str], world: World) -> EngineLoop | Follower:
    """What answers requests with an executor: by the steps that it chooses, or, where another process leads the group,
    by that one's. Every member of the group calls this at the same time. decode: Thinker ids to text."""
    if world.group_size == 1:
        return EngineLoop(executor, decode)
    links = connect_group(world, partial(_broadcast, world=world))
    if world.is_leader:
        return LeaderLoop(SharedExecutor(executor, links), decode)
    return Follower(executor, links[0], decode)


def _broadcast(numbers: np.ndarray, world: World) -> np.ndarray:
    from mindspore import Tensor

    from ms_omni.parallel.collectives import broadcast

    return broadcast(Tensor(numbers), world).asnumpy()
