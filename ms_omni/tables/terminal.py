"""Tables for a terminal (rich)."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ms_omni.tables import Table

WIDTH_OF_A_FILE = 140
_RULE = 3  # characters between two columns
_STYLES = {"worse": "red", "better": "green"}


def draw(heading: str, tables: Iterable[Table], below: Iterable[str], width: int | None = None) -> str:
    """The heading, the tables with their notes, and lines below. Coloured if stdout is a terminal.

    width: in characters; None: the terminal's, or WIDTH_OF_A_FILE if stdout is not one."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    on_terminal = sys.stdout.isatty()
    text = io.StringIO()
    room = width or (None if on_terminal else WIDTH_OF_A_FILE)
    console = Console(file=text, width=room, force_terminal=on_terminal or None, highlight=False)
    console.print(Text(heading, style="bold"), soft_wrap=True)
    for table in tables:
        console.print()
        console.print(Text(table.title, style="bold"), soft_wrap=True)
        for places in _that_fit(table, console.width):
            drawn = RichTable(show_edge=False, pad_edge=False)
            for place, wide in zip(places, _widths(table, places, console.width), strict=True):
                justify: Any = "left" if place < table.text_columns else "right"
                drawn.add_column(Text(table.columns[place]), overflow="fold", justify=justify, width=wide)
            for row in table.rows:
                drawn.add_row(*(Text(row[place], style=_STYLES.get(row[place], "")) for place in places))
            console.print(drawn)
        for note in table.notes:
            console.print(Text(note, style="dim"), soft_wrap=True)
    console.print()
    for line in below:
        console.print(Text(line), soft_wrap=True)
    return text.getvalue()


def _that_fit(table: Table, width: int) -> Iterator[list[int]]:
    """Columns side by side as far as they fit, the rest below with the text columns repeated: rich would cut them."""
    words = list(range(min(2, table.text_columns)))
    needed = [_least_width(table, place) + _RULE for place in range(len(table.columns))]
    room = width + _RULE - sum(needed[place] for place in words)
    taken, used = list(words), 0
    for place in range(len(words), len(table.columns)):
        if used + needed[place] > room and len(taken) > len(words):
            yield taken
            taken, used = list(words), 0
        taken.append(place)
        used += needed[place]
    yield taken


def _widths(table: Table, places: list[int], width: int) -> list[int]:
    """The width of each column, from `_least_width` up to its longest cell as far as the terminal allows."""
    widths = [_least_width(table, place) for place in places]
    longest = [max(len(cell) for cell in (table.columns[place], *_cells(table, place))) for place in places]
    spare = width - sum(widths) - _RULE * (len(places) - 1)
    while spare > 0 and widths != longest:
        for place in range(len(places)):
            if widths[place] < longest[place] and spare > 0:
                widths[place] += 1
                spare -= 1
    return widths


def _least_width(table: Table, place: int) -> int:
    """Words of headings and numbers are not broken, and names have 20 characters."""
    heading = max(len(word) for word in table.columns[place].split())
    return max(heading, min(max(map(len, _cells(table, place)), default=0), 20))


def _cells(table: Table, place: int) -> list[str]:
    return [row[place] for row in table.rows]
