"""float32 matrix products on the CPU.

oneDNN's `dnnl_sgemm`, out of the library that MindSpore's own operators use, where the processor is an x86: it needs no
copy of the weights first. Elsewhere numpy's BLAS (oneDNN has no kernels of its own for other processors).

Measured on one core, weights out of memory, 512 x 512, in GB/s of weights, OpenBLAS 0.3.23 and oneDNN 2.2: AVX-512
(Zen 5) 4 rows 10 and 20, 8 rows 9 and 19, 16 rows 7 and 16, 64 rows 3 and 7; AVX2 4 rows 10 and 14, 8 rows 9 and 11,
64 rows 3.0 and 3.7.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ms_omni.kernels.host_threads import equal_parts, in_parallel, threads_for

# Multiplications of a product that are worth a call of their own
LEAST_EACH = 1 << 21
# Rows or columns of a part begin at multiples of this, a cache line
ALIGNED = 16


def matmul(x: np.ndarray, weight: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """x: (m, k), weight: (k, n), either of them also as a transposed view. out: (m, n), contiguous rows. On all cores
    if there is enough to do, also with oneDNN; on one inside `in_parallel`."""
    sgemm = _sgemm()
    (m, k), n = x.shape, weight.shape[1]
    if out is None:
        out = np.empty((m, n), np.float32)
    if sgemm is None or not (m and k and n):
        return np.matmul(x, weight, out=out)
    (left, left_step), (right, right_step) = _layout(x), _layout(weight)
    if left is None or right is None or out.strides[1] != 4:
        return np.matmul(x, weight, out=out)
    addresses = [array.__array_interface__["data"][0] for array in (x, weight, out)]
    steps = left_step, right_step, (out.strides[0] >> 2 if m > 1 else n)

    def multiply(part: tuple[int, int, int, int]) -> None:
        row, rows, column, columns = part
        a = addresses[0] + row * x.strides[0]
        b = addresses[1] + column * weight.strides[1]
        c = addresses[2] + row * out.strides[0] + 4 * column
        sgemm(left, right, rows, columns, k, 1, a, steps[0], b, steps[1], 0, c, steps[2])

    in_parallel(multiply, _parts(m, n, k))
    return out


def matmul_each(x: np.ndarray, weight: np.ndarray, out: np.ndarray) -> np.ndarray:
    """x: (count, m, k), weight: (count, k, n), out: (count, m, n): each product as by `matmul`, or all small ones by
    one call of numpy."""
    if x.shape[1] * x.shape[2] * weight.shape[2] < LEAST_EACH:
        return np.matmul(x, weight, out=out)
    for one, other, made in zip(x, weight, out, strict=True):
        matmul(one, other, made)
    return out


def _parts(m: int, n: int, k: int) -> list[tuple[int, int, int, int]]:
    """First row, rows, first column and columns of one part for each thread: of the longer side."""
    threads, longer = threads_for(m * n * k), max(m, n)
    if threads == 1:
        return [(0, m, 0, n)]
    lines = -(-longer // ALIGNED)
    spans = [(a * ALIGNED, min(b * ALIGNED, longer)) for a, b in equal_parts(lines, min(threads, lines))]
    if m > n:
        return [(start, end - start, 0, n) for start, end in spans]
    return [(0, m, start, end - start) for start, end in spans]


def _layout(matrix: np.ndarray) -> tuple[bytes | None, int]:
    """Whether BLAS reads a float32 matrix as it is (N) or transposed (T), and values from one line to the next; None
    for neither."""
    if matrix.dtype != np.float32:
        return None, 0
    (rows, columns), (down, across) = matrix.shape, matrix.strides
    if (across == 4 or columns == 1) and (down >= 4 * columns or rows == 1):
        return b"N", max(down >> 2, columns)
    if (down == 4 or rows == 1) and (across >= 4 * rows or columns == 1):
        return b"T", max(across >> 2, rows)
    return None, 0


@cache
def _sgemm() -> Callable[..., int] | None:
    """`dnnl_sgemm` of oneDNN's C API (row-major; releases Python's lock), or None."""
    found = find_spec("mindspore")
    if platform.machine() != "x86_64" or found is None or not found.submodule_search_locations:
        return None
    for path in sorted((Path(found.submodule_search_locations[0]) / "lib").glob("libdnnl.so.*")):
        function = getattr(ctypes.CDLL(str(path)), "dnnl_sgemm", None)
        if function is not None:
            size, real, pointer = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
            function.argtypes = [ctypes.c_char, ctypes.c_char, size, size, size, real]
            function.argtypes += [pointer, size, pointer, size, real, pointer, size]
            function.restype = ctypes.c_int
            return function  # type: ignore[no-any-return]
    return None
