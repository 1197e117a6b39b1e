"""Reads the table that `npu-smi info` prints: one entry per chip, with its health, power and memory."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """One NPU chip. Memory in MiB (npu-smi writes "MB"), power in watts; None where the tool printed no figure (of a
    card with two chips, the first one's power is that of both)."""

    index: int
    name: str
    health: str
    used_mib: int | None
    total_mib: int | None
    power_w: float | None = None

    @property
    def free_mib(self) -> int | None:
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
    """The chips of an `npu-smi info` table, in its order; lines of other kinds (headers, processes) are passed over."""
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


def _card(card: re.Match[str], chip: re.Match[str]) -> Card:
    pairs = [(int(used), int(total)) for used, total in _PAIR.findall(chip["usage"])]
    # An inference card without HBM has one pair, its DDR memory; an absent memory reads "0 / 0".
    used, total = next(((u, t) for u, t in reversed(pairs) if t > 0), (None, None))
    index = int(chip["phy"] if chip["phy"] is not None else card["npu"])
    power = None if card["power"] is None else float(card["power"])
    return Card(index, card["name"], card["health"], used, total, power)
