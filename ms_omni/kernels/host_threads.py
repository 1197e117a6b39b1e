"""Parts of one computation in numpy on several threads of the CPU, each with matrix products of its own.

numpy runs one elementwise function on one core, and its BLAS waits for all of its threads in every product: parts that
go through several of both at once, small enough for a core's cache, take half the time on two cores."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

# Rows that a thread takes through a network together: products of fewer are slower, and their values are kept.
ROWS_AT_ONCE = 512
# Fewer are not worth another thread.
LEAST_ROWS = 64

WIDE_CORES = (b"SkylakeX", b"Cooperlake", b"SapphireRapids")

_running = Lock()


def num_threads() -> int:
    """As many as numpy's OpenBLAS has (OPENBLAS_NUM_THREADS, OMP_NUM_THREADS or the cores); 1 with another BLAS, whose
    own threads then do what they can."""
    return _pool()[1]


def in_parallel(function: Callable[[Any], Any], parts: Iterable[Any]) -> list[Any]:
    """function(part) of every part, in order. Not for use inside `function`."""
    pool, threads, set_blas_threads = _pool()
    parts = list(parts)
    if pool is None or len(parts) < 2:
        return [function(part) for part in parts]
    with _running:
        set_blas_threads(1)
        try:
            return list(pool.map(function, parts))
        finally:
            set_blas_threads(threads)


def shares(length: int, least: int) -> list[tuple[int, int]]:
    """(start, end) of equal parts of `length`, one a thread, or fewer so that each has `least`."""
    return equal_parts(length, max(1, min(num_threads(), length // least)))


def row_parts(rows: int) -> list[tuple[int, int]]:
    """(start, end) of equal parts, as many for each thread, of at most ROWS_AT_ONCE rows; one part of few rows."""
    threads = max(1, min(num_threads(), rows // LEAST_ROWS))
    return equal_parts(rows, threads * max(1, -(-rows // (threads * ROWS_AT_ONCE))))


def in_row_parts(function: Callable[[slice], np.ndarray], rows: int, shape: tuple[int, ...]) -> np.ndarray:
    """function(those rows), float32 (those rows, *shape), for some rows at a time: (rows, *shape). Few rows on this
    thread, and without a copy."""
    if rows < 2 * LEAST_ROWS or num_threads() == 1:
        return function(slice(0, rows))
    out = np.empty((rows, *shape), np.float32)

    def fill(part: tuple[int, int]) -> None:
        out[slice(*part)] = function(slice(*part))

    in_parallel(fill, row_parts(rows))
    return out


def equal_parts(length: int, count: int) -> list[tuple[int, int]]:
    """(start, end) of so many parts of `length`."""
    edges = [length * part // count for part in range(count + 1)]
    return list(pairwise(edges))


def has_wide_products() -> bool:
    """Whether numpy's OpenBLAS multiplies matrices with AVX-512; False with another BLAS."""
    library, suffix = _openblas()
    if library is None or not hasattr(library, f"openblas_get_corename{suffix}"):
        return False
    name = getattr(library, f"openblas_get_corename{suffix}")
    name.restype = ctypes.c_char_p
    return name() in WIDE_CORES


@cache
def _pool() -> tuple[ThreadPoolExecutor | None, int, Callable[[int], None]]:
    """The threads, their number, and what sets the number of OpenBLAS' threads."""
    library, suffix = _openblas()
    if library is None:
        return None, 1, lambda threads: None
    threads = int(getattr(library, f"openblas_get_num_threads{suffix}")())
    pool = ThreadPoolExecutor(threads, "ms_omni") if threads > 1 else None
    return pool, threads, getattr(library, f"openblas_set_num_threads{suffix}")


@cache
def _openblas() -> tuple[ctypes.CDLL | None, str]:
    """That of numpy's wheels, and what its functions' names end with: it stands beside the package under a name with a
    hash, and with 64 bit integers its functions have other names."""
    for path in sorted((Path(np.__file__).parents[1] / "numpy.libs").glob("*openblas*")):
        library = ctypes.CDLL(str(path))
        for suffix in ("64_", ""):
            if hasattr(library, f"openblas_set_num_threads{suffix}"):
                return library, suffix
    return None, ""
