"""The whole plan of one model for some card counts: memory, speed and choice of each, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.parallel.table import MODES, check_world
from ms_omni.planning.choose import choose
from ms_omni.planning.memory import MemoryPlan, Planned, most_prompt_tokens, plan_memory
from ms_omni.planning.speed import SpeedPlan, StepTime, mindone_zero3, plan_speed
from ms_omni.planning.workload import Workload

ALL, AUTO = "all", "auto"
PLAN_MODES = (ALL, AUTO, *MODES)
JSON_VERSION = 1


@dataclass(frozen=True)
class Row:
    """One way to share the model. most_prompt_tokens: 0 where the prompt's media do not fit."""

    memory: MemoryPlan
    speed: SpeedPlan
    most_prompt_tokens: int


@dataclass(frozen=True)
class Plan:
    """choices: for each card count the mode and the reason, or what is wrong. refused: modes that cannot share this
    model, and why. mindone: its own engine with ZeRO-3 on two cards, Thinker and Talker."""

    model: str
    planned: Planned
    workload: Workload
    rows: tuple[Row, ...]
    choices: dict[int, str]
    refused: tuple[str, ...]
    mindone: tuple[StepTime, StepTime | None]


def make_plan(model: str, planned: Planned, workload: Workload, cards: Sequence[int], parallel: str) -> Plan:
    """cards: counts of one group. parallel: one of PLAN_MODES. Raises OmniError for what cannot be planned; that a way
    does not fit is part of the plan, unless it was left to `auto`."""
    rows, refused, choices = [], [], {}
    for count in cards:
        for mode in _modes(planned, workload, count, parallel):
            try:
                check_world(mode, count, planned.sizes)
            except OmniError as error:
                if parallel != ALL:
                    raise
                refused.append(str(error))
                continue
            rows.append(_row(planned, workload, mode, count))
        choices[count] = _choice(planned, workload, count)
    return Plan(model, planned, workload, tuple(rows), choices, tuple(refused), mindone_zero3(planned, 2))


def _modes(planned: Planned, workload: Workload, cards: int, parallel: str) -> tuple[str, ...]:
    if parallel == AUTO:
        return (choose(planned, workload, cards)[0],)
    if parallel == ALL:
        return ("none",) if cards == 1 else tuple(mode for mode in MODES if mode != "none")
    return (parallel,)


def _row(planned: Planned, workload: Workload, mode: str, cards: int) -> Row:
    memory = plan_memory(planned, workload, mode, cards)
    return Row(
        memory=memory,
        speed=plan_speed(planned, memory.prompt_tokens, mode, cards),
        most_prompt_tokens=most_prompt_tokens(planned, workload, mode, cards),
    )


def _choice(planned: Planned, workload: Workload, cards: int) -> str:
    try:
        return "--parallel {}: {}".format(*choose(planned, workload, cards))
    except OmniError as error:
        return str(error)


def as_json(plan: Plan) -> dict[str, Any]:
    """One document. Bytes and seconds; everything about speed, and about memory on Ascend, is projected."""
    hardware = plan.planned.hardware
    return {
        "version": JSON_VERSION,
        "projected": True,
        "model": plan.model,
        "dtype": plan.planned.dtype,
        "speech": plan.planned.speak,
        "hardware": {"name": hardware.name, "title": hardware.title, "memory_bytes": hardware.memory_bytes},
        "workload": asdict(plan.workload),
        "plans": [_row_json(row) for row in plan.rows],
        "choices": [{"cards": cards, "choice": text} for cards, text in plan.choices.items()],
        "refused": list(plan.refused),
        "mindone_zero3_2_cards": {
            "thinker": _step_json(plan.mindone[0]),
            "talker": _step_json(plan.mindone[1]),
        },
        "assumptions": list(hardware.sources),
    }


def _row_json(row: Row) -> dict[str, Any]:
    memory = row.memory
    return {
        "cards": memory.cards,
        "parallel": memory.mode,
        "prompt_tokens": memory.prompt_tokens,
        "weight_bytes": memory.weight_bytes,
        "weight_bytes_by_part": dict(memory.weights),
        "kv_cache_bytes": memory.kv_cache,
        "activation_bytes": round(memory.activations),
        "activation_bytes_by_stage": {name: round(value) for name, value in memory.stages.items()},
        "buffer_bytes": round(memory.buffers),
        "process_bytes": round(memory.reserved),
        "total_bytes": round(memory.total),
        "usable_bytes": round(memory.available),
        "fits": memory.fits,
        "most_prompt_tokens": row.most_prompt_tokens,
        "thinker": _step_json(row.speed.thinker),
        "talker": _step_json(row.speed.talker),
        "thinker_limit_tokens_per_s": row.speed.limit,
    }


def _step_json(step: StepTime | None) -> dict[str, Any] | None:
    return None if step is None else {**asdict(step), "total_s": step.total_s, "per_second_projected": step.per_second}
