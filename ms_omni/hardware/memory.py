"""Reads what Linux says of memory below /proc."""

from __future__ import annotations

from pathlib import Path


def meminfo_bytes(key: str, root: Path = Path("/")) -> int | None:
    """A line of /proc/meminfo, such as "MemTotal" or "MemAvailable"; None where Linux has none."""
    return proc_bytes(root / "proc/meminfo", key)


def proc_bytes(path: Path, key: str) -> int | None:
    """The value of the line `key: N kB`, as /proc/meminfo and /proc/PID/status have it; None without such a line."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
