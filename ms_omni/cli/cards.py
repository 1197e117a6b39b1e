"""Whether this machine has the Ascend cards that a job wants, and whether they are free."""

from __future__ import annotations

import re

from ms_omni.cli.machine import Machine
from ms_omni.cli.npu_smi import Card, parse_npu_smi
from ms_omni.errors import OmniError

VISIBLE_VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"
# An idle card holds 3 of 64 GiB. More than this belongs to a program, perhaps one in another container.
_IDLE_SHARE = 0.15


def check_cards(machine: Machine, wanted: int, words: list[str]) -> str:
    """The device a job of `wanted` processes runs on: "Ascend" where there are cards and `words` do not say
    `--device CPU`, else "CPU", which takes any number.

    Raises OmniError when there are fewer cards (ASCEND_RT_VISIBLE_DEVICES counts), or one of them is in use.
    """
    if device_of(words) == "CPU":
        return "CPU"
    table, cards = _table(machine)
    present = sorted(cards) or machine.device_nodes()
    if not present:
        return "CPU"
    visible = _visible(machine, present)
    if wanted > len(visible):
        where = f"{VISIBLE_VARIABLE} names {len(visible)}" if len(visible) < len(present) else "this machine has"
        count = "" if len(visible) < len(present) else f" {len(visible)}"
        raise OmniError(f"--cards {wanted}: {where}{count}; allowed: 1 to {len(visible)}")
    busy = [index for index in visible[:wanted] if index in cards and _is_busy(cards[index], table)]
    if busy:
        names = ", ".join(map(str, busy))
        raise OmniError(
            f"--cards {wanted}: in use: card {names} (npu-smi info lists the processes); end those, or choose cards "
            f"with {VISIBLE_VARIABLE}"
        )
    return "Ascend"


def device_here(machine: Machine) -> str:
    """Ascend where there are cards, busy or not; else CPU."""
    return "Ascend" if _table(machine)[1] or machine.device_nodes() else "CPU"


def card_power(machine: Machine, count: int) -> list[float] | None:
    """Watts of the `count` cards that a job on this machine takes, where npu-smi gives them; None where it gives none.
    Of a card with two chips npu-smi gives one figure for both."""
    power = [watts for card in visible_cards(machine)[:count] if (watts := card.power_w) is not None]
    return power or None


def visible_cards(machine: Machine) -> list[Card]:
    """The cards that npu-smi lists and ASCEND_RT_VISIBLE_DEVICES leaves."""
    _, cards = _table(machine)
    return [cards[index] for index in _visible(machine, sorted(cards))]


def _table(machine: Machine) -> tuple[str, dict[int, Card]]:
    """What npu-smi prints, and the cards in it by their number."""
    table = machine.run(["npu-smi", "info"]) or ""
    return table, {card.index: card for card in parse_npu_smi(table)}


def device_of(words: list[str]) -> str | None:
    """What a command says of `--device`: CPU or Ascend; None for nothing or auto."""
    given = [word.removeprefix("--device=") for word in words if word.startswith("--device=")]
    given += [value for flag, value in zip(words, words[1:], strict=False) if flag == "--device"]
    return given[-1] if given and given[-1] != "auto" else None


def _visible(machine: Machine, present: list[int]) -> list[int]:
    chosen = machine.environ.get(VISIBLE_VARIABLE)
    if chosen is None:
        return present
    numbers = [int(word) for word in re.findall(r"\d+", chosen)]
    return [number for number in numbers if number in present]


def _is_busy(card: Card, table: str) -> bool:
    """A process of this container is listed, or the memory is taken."""
    # | 0       0                 | 1712733       | python                   | 50662                   |
    # Cards of two chips are numbered otherwise here ("Phy-ID"): their memory alone tells.
    if "Phy-ID" not in table and re.search(
        rf"^\|\s*{card.index}\s+\d+\s*\|\s*\d+\s*\|\s*[^|]+\|\s*\d+\s*\|\s*$", table, re.MULTILINE
    ):
        return True
    return bool(card.used_mib and card.total_mib and card.used_mib > _IDLE_SHARE * card.total_mib)
