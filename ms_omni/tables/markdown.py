"""Tables in Markdown, and pages of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ms_omni.tables import Table

_CODE = ("command", "sampling", "configuration")


def page(
    heading: str, tables: Iterable[Table], summary: Sequence[str] = (), facts: Sequence[tuple[str, str]] = ()
) -> str:
    """A document of tables. summary: lines below the heading. facts: (name, value), where the figures come from."""
    lines = [f"# {one_line(heading)}", ""]
    if summary:
        lines += [*(f"- {one_line(line)}" for line in summary), ""]
    lines += of_tables(tables)
    if facts:
        lines += ["## Where these figures come from", ""]
        lines += [f"- {one_line(name)}: {_code(value) if name in _CODE else one_line(value)}" for name, value in facts]
    return "\n".join(lines) + "\n"


def of_tables(tables: Iterable[Table]) -> list[str]:
    """The lines of the tables, each with its heading."""
    lines: list[str] = []
    for table in tables:
        ruler = tuple(":---" if place < table.text_columns else "---:" for place in range(len(table.columns)))
        lines += [f"## {one_line(table.title)}", "", _row(table.columns), f"| {' | '.join(ruler)} |"]
        lines += [*(_row(cells) for cells in table.rows), ""]
        lines += [f"{one_line(note)}\n" for note in table.notes]
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(one_line(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def one_line(text: str) -> str:
    """One line, escaped for Markdown and HTML."""
    text = " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*")
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\_", text)  # within a word an underscore is only that


def _code(text: str) -> str:
    """Inline code; the text may have a backtick."""
    return f"`` {' '.join(text.split())} ``" if "`" in text else f"`{' '.join(text.split())}`"
