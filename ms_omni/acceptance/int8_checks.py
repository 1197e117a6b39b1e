"""Operators of 8-bit weights at the released model's sizes, as they are used: one token in a graph, several outside.

Compared with the product in float64 with the weights that the int8 values and their scales represent; for int8-dynamic,
with hidden states that are rounded as its operators round them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.acceptance import formulas
from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.compare import array_of, close
from ms_omni.acceptance.findings import Finding
from ms_omni.acceptance.operator_checks import FEW, Case, cases_of, choices_of, first_expert, rolled
from ms_omni.acceptance.released import inner_size
from ms_omni.checkpoint.int8 import rounded, row_scales
from ms_omni.checkpoint.load import numpy_dtype

# Roundings (docs/accept.md). A kernel may round a weight after multiplying it by its scale: one rounding more than with
# plain weights. Where a hidden state lies about halfway between two int8 values, an earlier rounding decides which one
# it becomes: rarely in x, more often between the products of experts. The two are one of 127 steps apart, so this is
# counted in roundings of bfloat16, whatever the dtype is.
ALLOWED = {"int8_linear": 8, "int8_experts": 32, "dynamic_linear": 12, "dynamic_experts": 64}
MODES = {"int8": "int8", "dynamic": "int8-dynamic"}  # of names of operators: --quantize


@dataclass(frozen=True)
class _Matrix:
    """int8 (..., out, in), float32 scales (..., out)."""

    values: np.ndarray
    scales: np.ndarray

    @staticmethod
    def of(weight: np.ndarray) -> _Matrix:
        """weight: float32 (out, in), as --quantize rounds it."""
        scales = row_scales(weight, "weight")
        return _Matrix(rounded(weight, scales), scales[:, 0])

    def __getitem__(self, place: Any) -> np.ndarray:
        """What the values stand for, in float64."""
        return self.values[place].astype(np.float64) * self.scales[place][..., None]


def run(bench: Bench) -> None:
    """All four operators for all decoders, without the Thinker's few tokens outside of graphs: its many show the
    same."""
    for case in cases_of(bench):
        if case.decoder == "Thinker" and case.tokens == FEW and not bench.quick:
            continue
        for mode in MODES:
            bench.check(f"{mode}_linear, {case}", partial(_linear, case, mode))
            if case.spec.num_experts:
                bench.check(f"{mode}_experts, {case}", partial(_experts, case, mode))


def _linear(case: Case, mode: str) -> Finding:
    """The matrix products of attention and of a dense network."""
    spec, inner = case.spec, inner_size(case.decoder)
    hidden, heads = spec.hidden_size, spec.num_heads * spec.head_dim
    sizes = (
        (hidden, heads + 2 * spec.num_kv_heads * spec.head_dim),
        (heads, hidden),
        (hidden, 2 * inner),
        (inner, hidden),
    )
    pairs = []
    for width, out in sizes:
        x = _uneven(case.make("x", case.tokens, width))
        weight = _Matrix.of(_uneven(case.make("weight", out, width).astype(np.float32) / np.float32(width**0.5)))
        made = case.call(f"{mode}_linear", [x, weight.values, _scales(case, mode, weight)])
        pairs.append((made, _preparation(mode)(array_of(x)) @ weight[:].T))
    return _finding(case, f"{mode}_linear", pairs)


def _experts(case: Case, mode: str) -> Finding:
    """As operator_checks._experts, with 8-bit weights."""
    chosen, shares = choices_of(case)
    gate_up, down = (
        _Matrix(*(rolled(part, case.spec.num_experts) for part in (one.values, one.scales)))
        for one in (_Matrix.of(_uneven(weight)) for weight in first_expert(case))
    )
    x = _uneven(case.make("x", case.tokens, case.spec.hidden_size))
    packed = [tensor.contiguous() for tensor in case.call("pack_experts", [gate_up.values, down.values])]
    scales = [_scales(case, mode, matrix) for matrix in (gate_up, down)]
    made = case.call(f"{mode}_experts", [x, shares, chosen, packed[0], scales[0], packed[1], scales[1]])
    right = formulas.experts(array_of(x), array_of(shares), chosen, gate_up, down, _preparation(mode))
    return _finding(case, f"{mode}_experts", [(made, right)])


def _uneven(rows: np.ndarray) -> np.ndarray:
    """Rows of different magnitudes, so that another row's scale would show. rows: (n, m)."""
    return rows * (np.arange(len(rows)) % 4 + 1).astype(rows.dtype)[:, None] / rows.dtype.type(2)


def _scales(case: Case, mode: str, matrix: _Matrix) -> Tensor:
    dtype = case.ops.scale_dtype(MODES[mode], getattr(ms, case.dtype))
    return Tensor(matrix.scales.astype(numpy_dtype(dtype)))


def _preparation(mode: str) -> Any:
    return formulas.rounded_rows if mode == "dynamic" else np.asarray


def _finding(case: Case, operator: str, pairs: list[tuple[Any, Any]]) -> Finding:
    return close(pairs, "bfloat16" if operator.startswith("dynamic") else case.dtype, ALLOWED[operator])
