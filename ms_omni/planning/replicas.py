"""More cards than one model needs: groups of them, each with a whole model, that answer different conversations."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ms_omni.errors import OmniError
from ms_omni.parallel.world import check_group_size
from ms_omni.planning.choose import possible_modes
from ms_omni.planning.memory import Planned
from ms_omni.planning.speed import plan_speed
from ms_omni.planning.workload import Workload


@dataclass(frozen=True)
class Groups:
    """`cards` in groups of `group_size` that share a model by `mode`. per_second: projected Thinker tokens of one."""

    cards: int
    group_size: int
    mode: str
    per_second: float

    @property
    def replicas(self) -> int:
        """How many groups there are."""
        return self.cards // self.group_size

    @property
    def together(self) -> float:
        """Projected Thinker tokens a second of all groups."""
        return self.replicas * self.per_second

    @property
    def flags(self) -> str:
        """As a command line asks for them."""
        return f"--group-size {self.group_size} --parallel {self.mode}"


def of_replicas(planned: Planned, replicas: int) -> Planned:
    """The model on the hardware of one replica: replicas on a CPU share its memory and bandwidth; a card belongs to one
    replica."""
    hardware = planned.hardware.shared_by(replicas)
    return planned if hardware is planned.hardware else replace(planned, hardware=hardware)


def check_groups(group_size: int, cards: int, mode: str) -> None:
    """Raises OmniError for a size that does not divide the cards, and for groups of whole models."""
    if group_size > 1 and mode == "none":
        raise OmniError(
            f"--group-size {group_size} with --parallel none: every card has a whole model; allowed: --group-size 1"
        )
    try:
        check_group_size(group_size, cards)
    except OmniError as error:
        raise OmniError(f"--cards {cards} {error}") from None


def best_groups(planned: Planned, workload: Workload, cards: int) -> tuple[Groups, Groups] | None:
    """Among all groups that fit: those with the most projected tokens a second together, and those that answer one
    conversation fastest; None if none fits. Among equals the smaller groups."""
    found = [
        groups
        for size in range(1, cards + 1)
        if cards % size == 0
        for groups in _fitting(planned, workload, cards, size)
    ]
    if not found:
        return None
    return max(found, key=lambda groups: groups.together), max(found, key=lambda groups: groups.per_second)


def _fitting(planned: Planned, workload: Workload, cards: int, group_size: int) -> list[Groups]:
    replica = of_replicas(planned, cards // group_size)
    plans = possible_modes(replica, workload, group_size)
    if group_size > 1:
        del plans["none"]  # as groups of one
    return [
        Groups(cards, group_size, mode, plan_speed(replica, plan.prompt_tokens, mode, group_size).thinker.per_second)
        for mode, plan in plans.items()
        if plan.fits
    ]
