"""Opens local files below one directory and nowhere else."""

from __future__ import annotations

import os
import stat
from io import FileIO


class NotAllowedError(Exception):
    """The file is outside, or no file; whether it exists is not told."""


def open_below(path: str, directory: str) -> FileIO:
    """A regular file whose real path, symlinks resolved, is below `directory`, itself a real path. To be read by the
    name `/proc/self/fd/N`, which leads to the very file that was looked at, wherever its path leads by then.

    Raises NotAllowedError, or OSError for a file below that cannot be opened."""
    real = os.path.realpath(path)
    if not _is_below(real, directory):
        raise NotAllowedError
    # O_PATH: nothing is read, no pipe waited for, no device woken
    descriptor = os.open(real, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        # between the look at the path and its opening it may have become another's
        if not is_file or not _is_below(os.readlink(f"/proc/self/fd/{descriptor}"), directory):
            raise NotAllowedError
        return FileIO(f"/proc/self/fd/{descriptor}", "rb")
    finally:
        os.close(descriptor)


def _is_below(path: str, directory: str) -> bool:
    return path.startswith(directory + os.sep)
