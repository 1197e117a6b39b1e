"""How far two arrays are apart, in roundings of a dtype.

One rounding to p bits of mantissa moves a value by at most 2^-p of it: 2^-8 in bfloat16, 2^-11 in float16, 2^-24 in
float32. A difference is given in these, at the size of the value or of the whole result's root mean square, whichever
is larger: what is summed before it is rounded leaves an error of the size of its addends. So a correct operator that
computes in float32 and rounds once is off by one, and one that rounds what is between its parts by a few, on every
card; a wrong operator is off by hundreds (2^8 in bfloat16 is a difference as large as the result).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ms_omni.acceptance.findings import Finding

MANTISSA_BITS = {"bfloat16": 8, "float16": 11, "float32": 24}
UNIT = "roundings"


def rounding(dtype: str) -> float:
    """The largest relative error of one rounding to this dtype."""
    return 2.0 ** -MANTISSA_BITS[dtype]


def array_of(value: Any) -> np.ndarray:
    """A tensor or an array in float64. MindSpore's bfloat16 becomes a numpy type that is not one of numpy's own."""
    array = value.asnumpy() if hasattr(value, "asnumpy") else np.asarray(value)
    return array.astype(np.float32).astype(np.float64) if array.dtype.kind not in "fiub" else array.astype(np.float64)


def in_roundings(actual: Any, expected: Any, dtype: str) -> float:
    """The largest difference; infinite for another shape and for values that are not finite."""
    made, right = array_of(actual), array_of(expected)
    if made.shape != right.shape or not np.isfinite(made).all():
        return float("inf")
    if not right.size:
        return 0.0
    size = np.maximum(np.abs(right), np.sqrt(np.mean(np.square(right))) + 1e-30)
    return float(np.max(np.abs(made - right) / size) / rounding(dtype))


def close(pairs: list[tuple[Any, Any]], dtype: str, allowed: float) -> Finding:
    """The largest difference. pairs: what was computed, and what is right."""
    worst = max(in_roundings(made, right, dtype) for made, right in pairs)
    return Finding(round(worst, 3), allowed, f"{UNIT} of {dtype}")


def close_rms(pairs: list[tuple[Any, Any]], dtype: str, allowed: float) -> Finding:
    """As `close`, by the root mean square of the differences: for many layers in a row, whose single values vary."""
    worst = 0.0
    for made, right in ((array_of(made), array_of(right)) for made, right in pairs):
        if made.shape != right.shape or not np.isfinite(made).all():
            return Finding(float("inf"), allowed, f"{UNIT} of {dtype} (root mean square)")
        apart = np.sqrt(np.mean(np.square(made - right)) / (np.mean(np.square(right)) + 1e-60))
        worst = max(worst, float(apart) / rounding(dtype))
    return Finding(round(worst, 3), allowed, f"{UNIT} of {dtype} (root mean square)")


def equal(pairs: list[tuple[Any, Any]], what: str = "values") -> Finding:
    """The number of values that differ; none may."""
    wrong = 0
    for made, right in pairs:
        one, other = array_of(made), array_of(right)
        wrong += int(np.sum(one != other)) if one.shape == other.shape else max(1, other.size)
    return Finding(float(wrong), 0.0, what)


def worst_of(findings: list[Finding]) -> Finding:
    """The finding that is furthest beyond what is allowed."""

    def excess(found: Finding) -> float:
        difference, allowed = found.difference or 0.0, found.allowed or 0.0
        return difference / allowed if allowed else difference * 1e9

    return max(findings, key=excess)
