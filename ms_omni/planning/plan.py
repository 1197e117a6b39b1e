"""The whole plan of one model for some card counts: memory, speed and choice of each, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.parallel.table import MODES, check_world
from ms_omni.planning.choose import choose
from ms_omni.planning.memory import MemoryPlan, Planned, most_at_once, most_prompt_tokens, plan_memory
from ms_omni.planning.replicas import Groups, best_groups, check_groups, of_replicas
from ms_omni.planning.speed import SpeedPlan, StepTime, mindone_zero3, plan_speed
from ms_omni.planning.workload import Workload

ALL, AUTO = "all", "auto"
JSON_VERSION = 1


@dataclass(frozen=True)
class Batch:
    """`size` conversations at once in one group."""

    size: int
    memory: MemoryPlan
    speed: SpeedPlan


@dataclass(frozen=True)
class Row:
    """One mode of sharing the model, in `replicas` groups. memory, speed: of one group with one conversation. batches:
    with several at once. most_prompt_tokens: 0 where the prompt's media do not fit. most_at_once: conversations that
    fit together."""

    memory: MemoryPlan
    speed: SpeedPlan
    batches: tuple[Batch, ...]
    most_prompt_tokens: int
    most_at_once: int
    replicas: int

    @property
    def cards(self) -> int:
        """Of all groups together."""
        return self.replicas * self.memory.cards


@dataclass(frozen=True)
class Choice:
    """The mode that `auto` takes for a group, with its reason, or why nothing fits."""

    cards: int
    group_size: int
    text: str


@dataclass(frozen=True)
class Plan:
    """choices: for each group size. best: for each number of cards that can be divided into groups, the groups with the
    most tokens a second together and those with the fastest answer. refused: why a mode is impossible. mindone: its own
    engine with ZeRO-3 on two cards, Thinker and Talker."""

    model: str
    planned: Planned
    workload: Workload
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...]
    best: tuple[tuple[Groups, Groups], ...]
    refused: tuple[str, ...]
    mindone: tuple[StepTime, StepTime | None]


def make_plan(
    model: str,
    planned: Planned,
    workload: Workload,
    cards: Sequence[int],
    parallel: str,
    group_sizes: Sequence[int] = (),
    batches: Sequence[int] = (),
) -> Plan:
    """cards: counts of all cards. parallel: ALL, AUTO or a mode of the shard table. group_sizes: cards that share one
    model, all of them if none is given. batches: numbers of conversations at once, planned beside one. Raises OmniError
    for what cannot be planned; that a way does not fit is part of the plan, unless it was left to `auto`."""
    rows, choices, refused = [], [], []
    for count in cards:
        for size in group_sizes or (count,):
            try:
                if group_sizes:
                    check_groups(size, count, parallel)
            except OmniError as error:
                refused.append(str(error))
                continue
            flag = "--group-size" if group_sizes else "--cards"
            found, impossible = _rows(planned, workload, count, size, parallel, flag, batches)
            rows += found
            refused += impossible
            choices.append(_choice(planned, workload, count, size, flag))
    if not rows and refused:
        raise OmniError(refused[0])
    best = [groups for count in cards if count > 1 and (groups := best_groups(planned, workload, count)) is not None]
    return Plan(
        model, planned, workload, tuple(rows), tuple(choices), tuple(best), tuple(refused), mindone_zero3(planned, 2)
    )


def _rows(
    planned: Planned,
    workload: Workload,
    cards: int,
    group_size: int,
    parallel: str,
    flag: str,
    batches: Sequence[int],
) -> tuple[list[Row], list[str]]:
    """A row for each mode in groups of this size, and why others are impossible."""
    rows, refused = [], []
    for mode in _modes(of_replicas(planned, cards // group_size), workload, group_size, parallel, flag):
        try:
            check_world(mode, group_size, planned.sizes)
        except OmniError as error:
            if parallel != ALL:
                raise
            refused.append(str(error))
            continue
        rows.append(_row(planned, workload, mode, cards, 1 if mode == "none" else group_size, batches))
    return rows, refused


def _modes(planned: Planned, workload: Workload, cards: int, parallel: str, flag: str) -> tuple[str, ...]:
    if parallel == AUTO:
        return (choose(planned, workload, cards, flag)[0],)
    if parallel == ALL:
        return ("none",) if cards == 1 else tuple(mode for mode in MODES if mode != "none")
    return (parallel,)


def _row(planned: Planned, workload: Workload, mode: str, cards: int, group_size: int, batches: Sequence[int]) -> Row:
    replicas = cards // group_size
    replica = of_replicas(planned, replicas)

    def batch(size: int) -> Batch:
        memory = plan_memory(replica, replace(workload, batch=size), mode, group_size)
        return Batch(size, memory, plan_speed(replica, memory.prompt_tokens, mode, group_size, size))

    one = batch(1)
    return Row(
        memory=one.memory,
        speed=one.speed,
        batches=tuple(batch(size) for size in batches),
        most_at_once=most_at_once(replica, workload, mode, group_size),
        most_prompt_tokens=most_prompt_tokens(replica, workload, mode, group_size),
        replicas=replicas,
    )


def _choice(planned: Planned, workload: Workload, cards: int, group_size: int, flag: str) -> Choice:
    replica = of_replicas(planned, cards // group_size)
    try:
        text = "--parallel {}: {}".format(*choose(replica, workload, group_size, flag))
    except OmniError as error:
        text = str(error)
    return Choice(cards, group_size, text)


def as_json(plan: Plan) -> dict[str, Any]:
    """One document. Bytes and seconds; everything about speed, and about memory on Ascend, is projected."""
    hardware = plan.planned.hardware
    return {
        "version": JSON_VERSION,
        "projected": True,
        "model": plan.model,
        "dtype": plan.planned.dtype,
        "quantize": plan.planned.quantize,
        "speech": plan.planned.speak,
        "hardware": {"name": hardware.name, "title": hardware.title, "memory_bytes": hardware.memory_bytes},
        "workload": asdict(plan.workload),
        "plans": [_row_json(row) for row in plan.rows],
        "choices": [{"cards": c.cards, "group_size": c.group_size, "choice": c.text} for c in plan.choices],
        "best_groups": [
            {"most_together": _groups_json(most), "fastest_answer": _groups_json(fastest)}
            for most, fastest in plan.best
        ],
        "refused": list(plan.refused),
        "mindone_zero3_2_cards": {
            "thinker": _step_json(plan.mindone[0]),
            "talker": _step_json(plan.mindone[1]),
        },
        "assumptions": list(hardware.sources),
    }


def _row_json(row: Row) -> dict[str, Any]:
    memory, talker = row.memory, row.speed.talker
    return {
        "cards": row.cards,
        "group_size": memory.cards,
        "replicas": row.replicas,
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
        "most_conversations_at_once": row.most_at_once,
        "batches": [_batch_json(batch) for batch in row.batches],
        "thinker": _step_json(row.speed.thinker),
        "talker": _step_json(row.speed.talker),
        "thinker_captured": _step_json(row.speed.captured_thinker),
        "talker_captured": _step_json(row.speed.captured_talker),
        "thinker_limit_tokens_per_s": row.speed.limit,
        "thinker_tokens_per_s_together_projected": row.replicas * row.speed.thinker.per_second,
        "talker_frames_per_s_together_projected": row.replicas * talker.per_second if talker else None,
    }


def _batch_json(batch: Batch) -> dict[str, Any]:
    return {
        "batch": batch.size,
        "kv_cache_bytes": batch.memory.kv_cache,
        "total_bytes": round(batch.memory.total),
        "fits": batch.memory.fits,
        "thinker": _step_json(batch.speed.thinker),
        "talker": _step_json(batch.speed.talker),
        "thinker_captured": _step_json(batch.speed.captured_thinker),
        "talker_captured": _step_json(batch.speed.captured_talker),
    }


def _groups_json(groups: Groups) -> dict[str, Any]:
    return {
        "cards": groups.cards,
        "group_size": groups.group_size,
        "replicas": groups.replicas,
        "parallel": groups.mode,
        "thinker_tokens_per_s_projected": groups.per_second,
        "thinker_tokens_per_s_together_projected": groups.together,
    }


def _step_json(step: StepTime | None) -> dict[str, Any] | None:
    return None if step is None else {**asdict(step), "total_s": step.total_s, "per_second_projected": step.per_second}
