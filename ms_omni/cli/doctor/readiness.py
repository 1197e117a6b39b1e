"""What a machine is ready for, concluded from the checks of `doctor` and the memory that `plan` projects."""

from __future__ import annotations

from ms_omni.cli.doctor.diagnosis import A3_IN_NPU_SMI, MISS, OK, WARN, Check
from ms_omni.hardware.cards import Card, visible_cards
from ms_omni.hardware.machine import Machine

RELEASED = "instruct"
DTYPE = "bfloat16"
_MIB = 1 << 20


def readiness(machine: Machine, checks: list[Check]) -> list[str]:
    """A sentence for each thing that the machine is ready for, the smallest first; none if a Python package is missing.
    MindSpore is not imported; transformers is, for its configuration, if there are usable cards."""
    if any(check.verdict == MISS for check in checks if check.group == "python"):
        return []
    ready = [f"ready to try on a CPU{_but(checks, 'python', 'resources')}"]
    cards = _serving(machine, checks)
    if not cards or any(check.verdict == MISS for check in checks if check.group == "ascend"):
        return ready
    least = _least_cards(cards)
    but = _but(checks, "python", "ascend")
    if least is not None and least <= len(cards):
        enough = f" ({least} are enough)" if least < len(cards) else ""
        return [*ready, f"ready for the released model on {_count(len(cards))} in {DTYPE}{enough}{but}"]
    wanted = "more memory than 16 such cards have" if least is None else f"{least} such cards"
    return [*ready, f"ready for small models on {_count(len(cards))}{but}; the released one needs {wanted} in {DTYPE}"]


def _serving(machine: Machine, checks: list[Check]) -> list[Card]:
    """Cards that a job may take (ASCEND_RT_VISIBLE_DEVICES counts) and that are healthy, known and free."""
    right = {check.name for check in checks if check.verdict == OK}
    return [card for card in visible_cards(machine) if f"card {card.index}" in right]


def _least_cards(cards: list[Card]) -> int | None:
    """How many cards like the smallest of these the released model needs with speech; None for more than 16."""
    from ms_omni.planning.choose import USUAL_CARDS, possible_modes
    from ms_omni.planning.hardware import measured_hardware
    from ms_omni.planning.memory import Planned
    from ms_omni.planning.model import plan_config
    from ms_omni.planning.workload import Workload

    config = plan_config(RELEASED)
    smallest = min(cards, key=lambda card: card.total_mib or 0)
    name = "a3" if smallest.name == A3_IN_NPU_SMI else smallest.name
    hardware, _ = measured_hardware(name, (smallest.total_mib or 0) * _MIB)
    planned = Planned(config, hardware, DTYPE, speak=True)
    for count in sorted({*USUAL_CARDS, len(cards)}):
        if any(plan.fits for plan in possible_modes(planned, Workload(), count).values()):
            return count
    return None


def _but(checks: list[Check], *groups: str) -> str:
    warned = any(check.verdict == WARN for check in checks if check.group in groups)
    return ", but for the warnings above" if warned else ""


def _count(cards: int) -> str:
    return "1 card" if cards == 1 else f"{cards} cards"
