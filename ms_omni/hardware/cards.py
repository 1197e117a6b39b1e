"""The Ascend cards of a machine, as `npu-smi info` lists them: which there are, which are visible, which are free."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ms_omni.errors import OmniError
from ms_omni.hardware.machine import Machine

VISIBLE_VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"
# An idle card holds 3 of 64 GiB. More than this belongs to a program, perhaps one in another container.
_IDLE_SHARE = 0.15


@dataclass(frozen=True)
class Card:
    """One NPU chip. Memory in MiB (npu-smi writes "MB"), power in watts; None where the tool printed no figure. In a
    card with two chips, the power of the first is that of both."""

    index: int
    name: str
    health: str
    used_mib: int | None
    total_mib: int | None
    power_w: float | None = None

    @property
    def free_mib(self) -> int | None:
        """None where the tool printed no memory."""
        return None if self.total_mib is None or self.used_mib is None else self.total_mib - self.used_mib


# | 0     910B3               | OK            | 90.7        37                0    / 0             |
_CARD = re.compile(
    r"^\|\s*(?P<npu>\d+)\s+(?P<name>[A-Za-z0-9][\w.-]*)\s*\|\s*(?P<health>[A-Za-z]+)\s*\|"
    r"(?:\s*(?P<power>\d+(?:\.\d+)?)\s)?"
)
# | 0                         | 0000:C1:00.0  | 0           0    / 0          3161 / 65536         |
# A 910C has two chips a card and prints "chip  physical id" in the first column; the last pair is the HBM.
_CHIP = re.compile(r"^\|\s*\d+(?:\s+(?P<phy>\d+))?\s*\|\s*[0-9A-Fa-fx]{4}:[^|]*\|(?P<usage>.*)\|\s*$")
_PAIR = re.compile(r"(\d+)\s*/\s*(\d+)")


def parse_npu_smi(text: str) -> list[Card]:
    """The chips of an `npu-smi info` table, in its order. Other lines (headers, processes) are skipped."""
    cards: list[Card] = []
    card = None
    for line in text.splitlines():
        if match := _CARD.match(line.strip()):
            card = match
        elif card is not None and (match := _CHIP.match(line.strip())):
            cards.append(_card(card, match))
            card = None
    return cards


def npu_smi_version(text: str) -> str | None:
    """Version in the first line of the table; npu-smi comes with the driver and has its version."""
    match = re.search(r"npu-smi\s+\S+\s+Version:\s*(\S+)", text)
    return match[1] if match else None


def check_cards(machine: Machine, wanted: int) -> str:
    """The device that a job of `wanted` processes runs on: "Ascend" where there are cards, else "CPU", which takes any
    number.

    Raises OmniError when there are fewer cards (ASCEND_RT_VISIBLE_DEVICES counts), or one of them is in use."""
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
    """Watts of the first `count` visible cards; None if npu-smi gives none. A card with two chips has one figure for
    both."""
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


def _visible(machine: Machine, present: list[int]) -> list[int]:
    chosen = machine.environ.get(VISIBLE_VARIABLE)
    if chosen is None:
        return present
    numbers = [int(word) for word in re.findall(r"\d+", chosen)]
    return [number for number in numbers if number in present]


def _is_busy(card: Card, table: str) -> bool:
    """Whether a process of this container is listed, or the memory is taken."""
    # | 0       0                 | 1712733       | python                   | 50662                   |
    # Cards of two chips are numbered otherwise here ("Phy-ID"): their memory alone tells.
    if "Phy-ID" not in table and re.search(
        rf"^\|\s*{card.index}\s+\d+\s*\|\s*\d+\s*\|\s*[^|]+\|\s*\d+\s*\|\s*$", table, re.MULTILINE
    ):
        return True
    return bool(card.used_mib and card.total_mib and card.used_mib > _IDLE_SHARE * card.total_mib)


def _card(card: re.Match[str], chip: re.Match[str]) -> Card:
    pairs = [(int(used), int(total)) for used, total in _PAIR.findall(chip["usage"])]
    # An inference card without HBM has one pair, its DDR memory; an absent memory reads "0 / 0".
    used, total = next(((u, t) for u, t in reversed(pairs) if t > 0), (None, None))
    index = int(chip["phy"] if chip["phy"] is not None else card["npu"])
    power = None if card["power"] is None else float(card["power"])
    return Card(index, card["name"], card["health"], used, total, power)
