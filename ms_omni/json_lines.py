"""Files of JSON lines: their lines with their numbers, each an object or an error of one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ms_omni.errors import OmniError


def numbered_lines(path: Path, flag: str) -> list[tuple[int, str]]:
    """(number, text) of every line that is not empty, from 1. flag: named in errors, before the path.
    Raises OmniError for a file that cannot be read or is not UTF-8."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise OmniError(f"{flag} {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise OmniError(f"{flag} {path}: not UTF-8 text (byte {error.start})") from error
    # not splitlines(): JSON strings may hold the line ends of Unicode
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def parse_object(line: str, where: str, example: str) -> dict[str, Any]:
    """The object that `line` holds. Raises OmniError that begins with `where`; example: what a line may look like."""
    try:
        data = json.loads(line, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise OmniError(f"{where}: not valid JSON (column {error.colno}: {error.msg})") from error
    except ValueError as error:  # a number that is none, or with thousands of digits
        raise OmniError(f"{where}: not valid JSON ({error})") from error
    except RecursionError as error:
        raise OmniError(f"{where}: nested too deeply") from error
    if not isinstance(data, dict):
        raise OmniError(f"{where}: expected an object such as {example}")
    return data


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
