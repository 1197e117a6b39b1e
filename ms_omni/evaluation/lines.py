"""Where results and references come from: a file of JSON lines, or objects of Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.files import numbered_lines, parse_object

# A path, or what its lines would hold
Lines = str | Path | Iterable[Mapping[str, Any]]


def objects_of(lines: Lines, name: str, example: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of each line. name: stands before the path in errors. Raises OmniError."""
    if isinstance(lines, (str, Path)):
        for number, line in numbered_lines(Path(lines), named(name, lines)):
            where = f"{named(name, lines)} line {number}"
            yield where, parse_object(line, where, example)
        return
    for number, data in enumerate(lines, 1):
        if not isinstance(data, Mapping):
            raise OmniError(f"{name} item {number}: expected an object such as {example}")
        yield f"{name} item {number}", dict(data)


def shown(lines: Lines) -> str:
    """How reports name the source."""
    return str(lines) if isinstance(lines, (str, Path)) else "given in Python"


def named(name: str, lines: Lines) -> str:
    """How errors name the source."""
    return f"{name} {lines}" if isinstance(lines, (str, Path)) else name


def some_of(ids: Iterable[str], most: int = 5) -> str:
    """The first few, and how many more there are: 'a', 'b' and 3 more."""
    found = list(ids)
    rest = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(map(repr, found[:most])) + rest
