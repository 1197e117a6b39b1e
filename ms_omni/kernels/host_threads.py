"""Runs the parts of one numpy computation on several threads, each with its own matrix products.

numpy runs an elementwise function on one core, and its BLAS waits for all of its threads in every product. Parts that
fit a core's cache and go through several such steps at once take half the time on two cores."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from ms_omni import openblas

# Rows that a thread takes through a network together: products of fewer are slower, and their values are kept.
ROWS_AT_ONCE = 512
# Multiplications that are worth another thread, about 0.1 ms
LEAST_A_THREAD = 1 << 22
# Fewer rows are not worth another thread; nor are fewer values that come out of them.
LEAST_ROWS = 64
LEAST_VALUES = 1 << 15

_running = threading.Lock()
_here = threading.local()


def num_threads() -> int:
    """Threads of numpy's OpenBLAS (OPENBLAS_NUM_THREADS, OMP_NUM_THREADS or the cores); 1 with another BLAS, which then
    uses its own threads. 1 inside `in_parallel`."""
    return 1 if getattr(_here, "is_worker", False) else _pool()[1]


def threads_for(work: int) -> int:
    """Threads that are worth it for so many multiplications."""
    return max(1, min(num_threads(), work // LEAST_A_THREAD))


def in_parallel(function: Callable[[Any], Any], parts: Iterable[Any], work: float = math.inf) -> list[Any]:
    """function(part) of every part, in order. work: multiplications of all parts; little is done on this thread. Inside
    `function` everything is done on the same thread."""
    pool, threads, set_blas_threads = _pool()
    parts = list(parts)
    if pool is None or num_threads() == 1 or len(parts) < 2 or work < 2 * LEAST_A_THREAD:
        return [function(part) for part in parts]
    with _running:
        set_blas_threads(1)
        try:
            return list(pool.map(function, parts))
        finally:
            set_blas_threads(threads)


def thread_parts(length: int, least: int) -> list[tuple[int, int]]:
    """(start, end) of equal parts of `length`: one for each thread, or fewer, so that each has at least `least`."""
    return equal_parts(length, max(1, min(num_threads(), length // least)))


def row_parts(rows: int) -> list[tuple[int, int]]:
    """(start, end) of equal parts of at most ROWS_AT_ONCE rows, the same number for each thread; few rows are one
    part."""
    threads = max(1, min(num_threads(), rows // LEAST_ROWS))
    return equal_parts(rows, threads * max(1, -(-rows // (threads * ROWS_AT_ONCE))))


def in_row_parts(function: Callable[[slice], np.ndarray], rows: int, shape: tuple[int, ...]) -> np.ndarray:
    """Calls function(slice of rows), which returns float32 (those rows, *shape), on several threads and joins the
    results: (rows, *shape). Few rows are computed on this thread, without a copy."""
    if rows < 2 * LEAST_ROWS or rows * math.prod(shape) < 2 * LEAST_VALUES or num_threads() == 1:
        return function(slice(0, rows))
    out = np.empty((rows, *shape), np.float32)

    def fill(part: tuple[int, int]) -> None:
        out[slice(*part)] = function(slice(*part))

    in_parallel(fill, row_parts(rows))
    return out


def equal_parts(length: int, count: int) -> list[tuple[int, int]]:
    """(start, end) of `count` equal parts of `length`."""
    edges = [length * part // count for part in range(count + 1)]
    return list(pairwise(edges))


@cache
def _pool() -> tuple[ThreadPoolExecutor | None, int, Callable[[int], None]]:
    """The threads, their number, and the function that sets the number of OpenBLAS' threads."""
    library, suffix = openblas.library()
    if library is None:
        return None, 1, lambda threads: None
    threads = int(getattr(library, f"openblas_get_num_threads{suffix}")())
    pool = ThreadPoolExecutor(threads, "ms_omni", initializer=_mark_worker) if threads > 1 else None
    return pool, threads, getattr(library, f"openblas_set_num_threads{suffix}")


def _mark_worker() -> None:
    _here.is_worker = True
