"""Operators of 8-bit weights at the released model's sizes, as they are used: one token in a graph, several outside.

Right is the product with the weights that the int8 values and their scales stand for, in float64; of int8-dynamic with
hidden states that were rounded as its operators do it.
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
from ms_omni.acceptance.operator_checks import FEW, Case, cases_of, choices_of, first_expert, turned
from ms_omni.acceptance.released import inner_size
from ms_omni.checkpoint.int8 import rounded, row_scales
from ms_omni.checkpoint.load import numpy_dtype

# Roundings (docs/accept.md). A kernel may round a weight where it multiplies it by its scale, which is one more for a
# product than with plain weights. Where a hidden state lies about in the middle of two int8 values, another rounding
# before, or within the kernel, decides which it becomes: few do in x, more between the products of experts. They are
# one of 127 steps apart, so that this is counted in roundings of bfloat16, whatever the dtype is.
ALLOWED = {"int8_linear": 8, "int8_experts": 32, "dynamic_linear": 12, "dynamic_experts": 64}
MODES = {"int8": "int8", "dynamic": "int8-dynamic"}  # of names of operators: --quantize


@dataclass(frozen=True)
class Matrix:
    """int8 (..., out, in), float32 scales (..., out)."""

    values: np.ndarray
    scales: np.ndarray

    @staticmethod
    def of(weight: np.ndarray) -> Matrix:
        """weight: float32 (out, in), as --quantize rounds it."""
        scales = row_scales(weight, "weight")
        return Matrix(rounded(weight, scales), scales[:, 0])

    def __getitem__(self, place: Any) -> np.ndarray:
        """What the values stand for, in float64."""
        return self.values[place].astype(np.float64) * self.scales[place][..., None]


def run(bench: Bench) -> None:
    """All four, of all decoders. Few tokens outside of graphs are as many there: the Thinker's are left out."""
    for case in cases_of(bench):
        if case.decoder == "Thinker" and case.tokens == FEW and not bench.quick:
            continue
        for mode in MODES:
            bench.check(f"{mode}_linear, {case}", partial(linear, case, mode))
            if case.spec.num_experts:
                bench.check(f"{mode}_experts, {case}", partial(experts, case, mode))


def linear(case: Case, mode: str) -> Finding:
    """The products of attention, and of a dense network."""
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
        x = uneven(case.make("x", case.tokens, width))
        weight = Matrix.of(uneven(case.make("weight", out, width).astype(np.float32) / np.float32(width**0.5)))
        made = case.call(f"{mode}_linear", [x, weight.values, _scales(case, mode, weight)])
        pairs.append((made, _taken(mode)(array_of(x)) @ weight[:].T))
    return _finding(case, f"{mode}_linear", pairs)


def experts(case: Case, mode: str) -> Finding:
    """As of plain weights: the first and the last expert always have a token, half of them none in a short prompt."""
    chosen, shares = choices_of(case)
    gate_up, down = (
        Matrix(*(turned(part, case.spec.num_experts) for part in (one.values, one.scales)))
        for one in (Matrix.of(uneven(weight)) for weight in first_expert(case))
    )
    x = uneven(case.make("x", case.tokens, case.spec.hidden_size))
    packed = [tensor.contiguous() for tensor in case.call("pack_experts", [gate_up.values, down.values])]
    scales = [_scales(case, mode, matrix) for matrix in (gate_up, down)]
    made = case.call(f"{mode}_experts", [x, shares, chosen, packed[0], scales[0], packed[1], scales[1]])
    right = formulas.experts(array_of(x), array_of(shares), chosen, gate_up, down, _taken(mode))
    return _finding(case, f"{mode}_experts", [(made, right)])


def uneven(rows: np.ndarray) -> np.ndarray:
    """(n, m). Rows of different sizes, so that scales of other rows would show."""
    return rows * (np.arange(len(rows)) % 4 + 1).astype(rows.dtype)[:, None] / rows.dtype.type(2)


def _scales(case: Case, mode: str, matrix: Matrix) -> Tensor:
    dtype = case.ops.scale_dtype(MODES[mode], getattr(ms, case.dtype))
    return Tensor(matrix.scales.astype(numpy_dtype(dtype)))


def _taken(mode: str) -> Any:
    return formulas.rounded_rows if mode == "dynamic" else formulas.as_it_is


def _finding(case: Case, operator: str, pairs: list[tuple[Any, Any]]) -> Finding:
    return close(pairs, "bfloat16" if operator.startswith("dynamic") else case.dtype, ALLOWED[operator])
