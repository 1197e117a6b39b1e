"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ms_omni.errors import OmniError


def write_text(path: Path, text: str, flag: str = "--out") -> None:
    """The file whole or not at all. Raises OmniError naming `flag` when the disk refuses."""
    write_bytes(path, [text.encode()], flag)


def write_bytes(path: Path, pieces: Iterable[bytes], flag: str = "--out") -> None:
    """The pieces one after the other, as `write_text`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines(pieces)
        os.replace(temporary, path)
    except OSError as error:
        raise OmniError(f"{flag} {path}: could not be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
