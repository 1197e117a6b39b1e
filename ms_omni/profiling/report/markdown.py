"""A profile as Markdown: the seed's throughput table first, then everything else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ms_omni.profiling.document import Profile
from ms_omni.profiling.report.heading import provenance, title
from ms_omni.profiling.report.tables import Table, of_profile, throughput

_CODE = ("command", "sampling", "configuration")


def render(profile: Profile) -> str:
    tables = of_profile(profile)
    if profile.cases:
        tables.insert(0, throughput(profile))
    lines = [f"# {one_line(title(profile))}", ""]
    if not profile.cases:
        lines += ["No answer was measured.", ""]
    facts = [f"- {name}: {_code(value) if name in _CODE else one_line(value)}" for name, value in provenance(profile)]
    return "\n".join([*lines, *of_tables(tables), "## Where these figures come from", "", *facts]) + "\n"


def of_tables(tables: Iterable[Table]) -> list[str]:
    """Lines of the tables, each under its own heading."""
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
    """One line, whose signs Markdown and HTML leave alone."""
    text = " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*")
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\_", text)  # within a word an underscore is only that


def _code(text: str) -> str:
    """Inline code, in whose text a backtick may stand."""
    return f"`` {' '.join(text.split())} ``" if "`" in text else f"`{' '.join(text.split())}`"
