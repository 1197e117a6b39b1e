"""What a command says to the person at the terminal, beside its result: notes on stderr, a console for bars."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal(stream: Any) -> bool:
    """False too for a stream that a test or another program has put in the place of a file."""
    return bool(getattr(stream, "isatty", lambda: False)())


def print_note(message: str) -> None:
    """One line to the user beside the result."""
    print(f"ms-omni: {message}", file=sys.stderr)


def stderr_console() -> Console:
    """For bars on stderr: with a descriptor of its own, which stays when an interrupt silences descriptor 2."""
    from rich.console import Console

    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return Console(stderr=True)
    return Console(file=open(descriptor, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors))


def clock_text(seconds: float) -> str:
    """0:05, 12:34, 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
