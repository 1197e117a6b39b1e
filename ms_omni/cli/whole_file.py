"""Text files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ms_omni.errors import OmniError


def write_text(path: Path, text: str, flag: str = "--out") -> None:
    """The file whole or not at all. Raises OmniError naming `flag` when the disk refuses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise OmniError(f"{flag} {path}: could not be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
