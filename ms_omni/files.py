"""Files that users name: read with errors of one line, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ms_omni.errors import OmniError


def read_text(path: str | Path, where: str) -> str:
    """The content of a UTF-8 file, without a byte order mark. Raises OmniError that begins with `where`, which names
    the file."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise OmniError(f"{where}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise OmniError(f"{where}: not UTF-8 text (byte {error.start})") from error


def read_json(path: str | Path, where: str) -> Any:
    """The JSON value in a file. Raises OmniError that begins with `where`."""
    return parse_json(read_text(path, where), where)


def parse_json(text: str, where: str, is_line: bool = False) -> Any:
    """The value of a JSON text. is_line: it is a line of a JSON-lines file, where NaN and Infinity are refused. Raises
    OmniError that begins with `where` and gives the place of the mistake."""
    try:
        return json.loads(text, parse_constant=_refuse_constant if is_line else None)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if is_line else f"line {error.lineno} column {error.colno}"
        raise OmniError(f"{where}: not valid JSON ({place}: {error.msg})") from error
    except ValueError as error:  # a number with thousands of digits, or NaN in a line
        raise OmniError(f"{where}: not valid JSON ({error})") from error
    except RecursionError as error:
        raise OmniError(f"{where}: nested too deeply") from error


def numbered_lines(path: Path, where: str) -> list[tuple[int, str]]:
    """(number, text) of every line of a file that is not empty, counted from 1. Raises OmniError."""
    lines = read_text(path, where).split("\n")  # not splitlines(): JSON strings may hold the line ends of Unicode
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def parse_object(line: str, where: str, example: str) -> dict[str, Any]:
    """The object that a line of a JSON-lines file holds. Raises OmniError that begins with `where`; example: what a
    line may look like."""
    data = parse_json(line, where, is_line=True)
    if not isinstance(data, dict):
        raise OmniError(f"{where}: expected an object such as {example}")
    return data


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def read_yaml(path: str | Path, where: str) -> Any:
    """The content of a YAML file. Raises OmniError that begins with `where` and gives the line and column, from 1,
    where reading ended."""
    import yaml

    text = read_text(path, where)
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark or error.context_mark, error.problem or error.context
        place = f"line {mark.line + 1} column {mark.column + 1}: " if mark else ""
        raise OmniError(f"{where}: not valid YAML ({place}{problem})") from error
    except (yaml.YAMLError, ValueError) as error:  # a character that YAML lacks; a date such as 2026-99-99
        raise OmniError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from error
    except RecursionError as error:
        raise OmniError(f"{where}: nested too deeply") from error


def json_line(value: Any) -> str:
    """A line of JSON with its line end. Halves of surrogate pairs, which UTF-8 cannot encode, stay escapes."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode() + "\n"


def write_text(path: Path, text: str, flag: str = "--out") -> None:
    """Writes the file whole or not at all. Raises OmniError naming `flag` when the disk refuses."""
    write_bytes(path, [text.encode()], flag)


def write_bytes(path: Path, pieces: Iterable[bytes], flag: str = "--out") -> None:
    """Writes the pieces one after the other, as `write_text` does."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines(pieces)
        os.replace(temporary, path)
    except OSError as error:
        raise OmniError(f"{flag} {path}: could not be written ({error.strerror})") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def make_directory(path: Path, flag: str) -> None:
    """Creates a directory with its parents. Raises OmniError naming `flag` when nothing can be written there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        _try_to_write(path)
    except OSError as error:
        raise OmniError(f"{flag} {path}: cannot be written ({error.strerror})") from error


def check_writable(path: Path, where: str) -> None:
    """Raises OmniError, after `where`, the flag and its value, for a file that cannot be written."""
    if path.is_dir():
        raise OmniError(f"{where}: is a directory; expected a file name")
    if not path.parent.is_dir():
        raise OmniError(f"{where}: the directory {path.parent} does not exist; create it first")
    try:
        _try_to_write(path.parent)
    except OSError as error:
        raise OmniError(f"{where}: cannot write in {path.parent} ({error.strerror})") from error


def _try_to_write(directory: Path) -> None:
    """Only a trial tells: root passes every permission check even on a read-only file system."""
    with tempfile.TemporaryFile(dir=directory):
        pass
