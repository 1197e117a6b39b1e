"""Chooses how to share a model: the mode with the fastest projection among those that fit, and the reason in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.parallel.table import MODES
from ms_omni.planning.hardware import GB, Hardware, find_hardware
from ms_omni.planning.memory import MemoryPlan, Planned, plan_memory
from ms_omni.planning.precision import INT8, NONE
from ms_omni.planning.speed import plan_speed
from ms_omni.planning.workload import Workload

# Card counts that are tried to say what would work.
USUAL_CARDS = (1, 2, 4, 8, 16)


def choose_parallel(
    config: Any,
    cards: int,
    hardware: Hardware | str,
    *,
    dtype: str = "auto",
    speak: bool = True,
    quantize: str = NONE,
    workload: Workload | None = None,
) -> tuple[str, str]:
    """(mode, reason) for a group of `cards` cards. config: transformers' Qwen3OmniMoeConfig. hardware: or its name.
    quantize: none, int8 or int8-dynamic. "none" as a mode means that every card holds the whole model. Raises
    OmniError, naming the flags and what would work, where nothing fits."""
    found = find_hardware(hardware) if isinstance(hardware, str) else hardware
    has_talker = bool(speak and config.enable_audio_output)
    planned = Planned(config, found, found.default_dtype if dtype == "auto" else dtype, has_talker, quantize)
    return choose(planned, workload or Workload(), cards)


def choose(planned: Planned, workload: Workload, cards: int, flag: str = "--cards") -> tuple[str, str]:
    """As `choose_parallel`. flag: the one that sets `cards`, for errors."""
    memory = possible_modes(planned, workload, cards)
    speeds = {
        mode: plan_speed(planned, plan.prompt_tokens, mode, cards).thinker for mode, plan in memory.items() if plan.fits
    }
    if not speeds:
        raise OmniError(_nothing_fits(planned, workload, cards, memory, flag))
    mode = min(speeds, key=lambda name: speeds[name].total_s)
    plan = memory[mode]
    reason = f"{plan.total / GB:.1f} of {plan.available / GB:.1f} GB a card"
    others = [f"{name} {speed.per_second:.1f}" for name, speed in speeds.items() if name != mode]
    if others:
        reason += f"; projected {speeds[mode].per_second:.1f} Thinker tokens/s, {', '.join(others)}"
    too_large = [f"{name} {plan.total / GB:.1f} GB" for name, plan in memory.items() if not plan.fits]
    if too_large:
        reason += f"; do not fit: {', '.join(too_large)}"
    return mode, reason


def possible_modes(planned: Planned, workload: Workload, cards: int) -> dict[str, MemoryPlan]:
    """The memory plan of each mode that can share this model among so many cards; `none` is always there."""
    plans = {}
    for mode in MODES if cards > 1 else ("none",):
        try:
            plans[mode] = plan_memory(planned, workload, mode, cards)
        except OmniError:
            if mode == "none":
                raise
    return plans


def _nothing_fits(planned: Planned, workload: Workload, cards: int, memory: dict[str, MemoryPlan], flag: str) -> str:
    least = min(memory.values(), key=lambda plan: plan.total)
    need = f"{least.total / GB:.1f} GB a card with --parallel {least.mode}, {least.available / GB:.1f} GB are usable"
    flags = f"{flag} {cards} --hardware {planned.hardware.name}"
    flags += f" --quantize {planned.quantize}" if planned.precision.is_int8 else ""
    message = f"{flags}: the checkpoint does not fit on {planned.hardware.title}: it needs {need}"
    return f"{message}; {what_would_work(planned, workload, cards, flag)}"


def what_would_work(planned: Planned, workload: Workload, cards: int, flag: str = "--cards") -> str:
    """Which flags would make a model fit that does not fit on `cards` cards, in words."""
    options = []
    for count in (n for n in USUAL_CARDS if n > cards):
        fitting = [mode for mode, plan in possible_modes(planned, workload, count).items() if plan.fits]
        if fitting:
            options.append(f"with {flag} {count} --parallel {' or '.join(fitting)}")
            break
    could_be_int8 = planned.quantize == NONE and planned.precision.can_be_int8
    if could_be_int8 and _fits(replace(planned, quantize=INT8), workload, cards):
        options.append(f"with --quantize {INT8}")
    if planned.speak and _fits(replace(planned, speak=False), workload, cards):
        options.append("without the Talker (no --audio-out)")
    if not options:
        return "no usual number of cards is enough: a smaller prompt or other --hardware may be"
    return f"it fits {', or '.join(options)}"


def _fits(planned: Planned, workload: Workload, cards: int) -> bool:
    return any(plan.fits for plan in possible_modes(planned, workload, cards).values())
