"""Products of float32 matrices on one thread of the CPU, for the parts of host_threads.in_parallel.

MindSpore brings oneDNN, whose products of the shapes of an encoder or a convolution are faster than those of numpy's
OpenBLAS: on one core (AVX2, Zen 3) 85 and 60 GFLOP/s for 256 x 64 with 64 x 512 (queries and keys), 88 and 70 for 256 x
512 with 512 x 64 (scores and values), 91 and 56 for 64 x 576 with 576 x 800 (a convolution). Its functions of C say
row-major what BLAS says column-major: https://uxlfoundation.github.io/oneDNN/group_dnnl_api_blas.html
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.kernels.host_threads import is_alone

_FUNCTION = "dnnl_sgemm"


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, *, adds: bool = False) -> np.ndarray:
    """a: (m, k), b: (k, n), or both with a batch axis before these. a @ b, (m, n) with that axis, written to `out`, or
    added to it if `adds`. All float32. By numpy, on all threads, outside of `in_parallel` and where there is no
    oneDNN."""
    sgemm = _sgemm() if is_alone() else None
    if out is None:
        out = np.empty((*a.shape[:-1], b.shape[-1]), np.float32)
    if sgemm is None or not out.size or not all(_is_plain(x) for x in (a, b)) or out.strides[-1] != out.itemsize:
        if adds:
            out += np.matmul(a, b)
        else:
            np.matmul(a, b, out=out)
    elif a.ndim == 2:
        _multiply(sgemm, a, b, out, adds)
    else:
        for one, other, made in zip(a, b, out, strict=True):
            _multiply(sgemm, one, other, made, adds)
    return out


def _is_plain(x: np.ndarray) -> bool:
    """Whether rows or columns are without gaps and lie one behind the other."""
    row, column = x.strides[-2:]
    return (column == x.itemsize and row >= x.shape[-1] * column) or (row == x.itemsize and column >= x.shape[-2] * row)


def _multiply(sgemm: Any, a: np.ndarray, b: np.ndarray, out: np.ndarray, adds: bool) -> None:
    rows, inner = a.shape
    (a_order, a_step), (b_order, b_step) = _order(a), _order(b)
    status = sgemm(
        a_order, b_order, rows, b.shape[1], inner, 1.0, _address(a), a_step, _address(b), b_step, float(adds),
        _address(out), out.strides[0] // out.itemsize,
    )  # fmt: skip
    if status:
        raise RuntimeError(f"{_FUNCTION} of {a.shape} and {b.shape}: status {status}")


def _order(x: np.ndarray) -> tuple[bytes, int]:
    """N for rows that lie one behind the other, T for columns, and the values from one to the next."""
    row, column = x.strides
    return (b"N", row // x.itemsize) if column == x.itemsize else (b"T", column // x.itemsize)


def _address(x: np.ndarray) -> int:
    return int(x.__array_interface__["data"][0])


@cache
def _sgemm() -> Any:
    """oneDNN's function; None where MindSpore does not bring it, or for a processor that it has no fast one for. This
    build of it starts no threads."""
    spec = find_spec("mindspore") if platform.machine() in ("x86_64", "AMD64") else None
    if spec is None or spec.origin is None:
        return None
    try:
        function = getattr(ctypes.CDLL(str(Path(spec.origin).parent / "lib" / "libdnnl.so.2")), _FUNCTION)
    except (OSError, AttributeError):
        return None
    size, address = ctypes.c_int64, ctypes.c_void_p
    function.argtypes = [
        ctypes.c_char, ctypes.c_char, size, size, size, ctypes.c_float, address, size, address, size, ctypes.c_float,
        address, size,
    ]  # fmt: skip
    function.restype = ctypes.c_int
    return function
