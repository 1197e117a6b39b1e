"""numpy's OpenBLAS: its library, and how long its idle threads spin. Importing this imports no numpy."""

from __future__ import annotations

import os
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

TIMEOUT = "OPENBLAS_THREAD_TIMEOUT"
# Clock ticks as a power of two: 0.1 ms instead of the default's 20 to 100, in which they would take a core from
# everything else. One conversation's tokens need the threads every 0.1 ms.
TICKS = "18"
# Not in its documented interface, but exported by the builds in the wheels of numpy 1.26 and 2.4
_START_ANEW = ("openblas_read_env", "blas_thread_shutdown_", "blas_thread_init")


def limit_spinning() -> None:
    """Sets the variable that OpenBLAS reads when numpy is imported, unless the user has set it. If numpy is there
    already, its threads are started anew with it, as long as no other thread of Python could be in the middle of a
    product."""
    if TIMEOUT in os.environ:
        return
    os.environ[TIMEOUT] = TICKS
    if "numpy" not in sys.modules or threading.active_count() > 1:
        return
    found, _ = library()
    if found is not None and all(hasattr(found, name) for name in _START_ANEW):
        for name in _START_ANEW:
            getattr(found, name)()


@cache
def library() -> tuple[ctypes.CDLL | None, str]:
    """The library, None with another BLAS, and the suffix of its functions' names. The file lies beside numpy, with a
    hash in its name; builds with 64-bit integers have the suffix "64_"."""
    import ctypes  # not on the way to --help

    import numpy as np

    for path in sorted((Path(np.__file__).parents[1] / "numpy.libs").glob("*openblas*")):
        found = ctypes.CDLL(str(path))
        for suffix in ("64_", ""):
            if hasattr(found, f"openblas_set_num_threads{suffix}"):
                return found, suffix
    return None, ""
