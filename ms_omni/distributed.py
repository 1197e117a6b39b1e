"""Joins the distributed job, picks how its processes share the model, and connects the engine loops of a group."""

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
from ms_omni.planning.hardware import CPU
from ms_omni.planning.precision import Precision
from ms_omni.scheduling.follower import Follower
from ms_omni.scheduling.loop import EngineLoop
from ms_omni.scheduling.shared import LeaderLoop, SharedExecutor
from ms_omni.scheduling.steps import Executor

logger = logging.getLogger(__name__)


def join_job(settings: EngineConfig, precision: Precision, config: Any) -> tuple[World, str]:
    """This process's place in its job, and how its group shares the model: none, zero3, ep or tp. Waits until all
    processes have joined. config: transformers' Qwen3OmniMoeConfig. Raises OmniError for a shared model outside of a
    job."""
    mode, device = settings.parallel, precision.device
    if not is_under_msrun():
        if mode not in ("none", "auto"):
            raise OmniError(
                f"--parallel {mode}: this is one process; start as many as cards with ms-omni launch --cards N"
            )
        return World(device=device), "none"
    world = start_world(device, 1 if mode == "none" else None)
    if mode == "auto":
        mode, reason = _choose(settings, world.group_size, precision, config)
        logger.info("--parallel auto: %s for groups of %d: %s", mode, world.group_size, reason)
    if mode == "none":  # whole models need no groups
        world = replace(world, group_size=1, ops=None)
    return world, mode


def _choose(settings: EngineConfig, cards: int, precision: Precision, config: Any) -> tuple[str, str]:
    """The mode, and why."""
    if cards == 1:
        return "none", "one card a model"
    if settings.engine == "mindone":
        return "zero3", "the only way to share mindone's layers"
    from ms_omni.planning.choose import choose_parallel
    from ms_omni.runtime.card import card_hardware

    hardware = "cpu" if precision.device == CPU else card_hardware()
    dtype, quantize = precision.dtype, precision.quantize
    return choose_parallel(config, cards, hardware, dtype=dtype, speak=settings.with_talker, quantize=quantize)


def make_loop(executor: Executor, decode: Callable[[list[int]], str], world: World) -> EngineLoop | Follower:
    """The loop that runs an executor: it schedules steps itself, or runs those of the group's leader. Every member of
    the group calls this at the same time. decode: Thinker ids to text."""
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
