"""8-bit weights: which weights of a checkpoint, and how they are rounded.

Symmetric, with one scale for each output channel: weight[i, j] is about scale[i] * values[i, j], values int8 from -127
to 127. Nothing but the weights themselves is needed. Names and shapes are those of the compressed-tensors format
"int-quantized": a weight NAME.weight (out, in) has its scales in NAME.weight_scale, (out, 1).
"""

from __future__ import annotations

import re
from functools import cache

import ml_dtypes
import numpy as np

from ms_omni.errors import OmniError

LARGEST = 127
SCALE = "_scale"  # behind the name of a weight

# What the decoder layers of Thinker, Talker and code predictor multiply by, experts and shared experts included. Not:
# routers and the shared experts' gates, norms, embeddings, heads, projections, encoders, Code2Wav.
_QUANTIZED = re.compile(
    r"(thinker\.model|talker\.model|talker\.code_predictor\.model)\.layers\.\d+\."
    r"(self_attn\.[qkvo]_proj|mlp\.(experts\.\d+\.|shared_expert\.)?(gate|up|down)_proj)\.weight"
)
_VALUES_AT_ONCE = 1 << 20  # float32 ones, so that they stay in the processor's cache
_BFLOAT16_BITS = np.uint32(0xFFFF0000)


@cache  # readers ask it of each name several times
def is_quantized(name: str) -> bool:
    """Whether --quantize makes this weight int8."""
    return _QUANTIZED.fullmatch(name) is not None


@cache
def weight_of(name: str) -> str | None:
    """The quantized weight that the scales of this name belong to; None for any other name."""
    weight = name.removesuffix(SCALE)
    return weight if weight != name and is_quantized(weight) else None


def row_scales(values: np.ndarray, name: str) -> np.ndarray:
    """values: any float type (out, in). float32 (out, 1): the largest magnitude of each row over 127, rounded up to a
    bfloat16 value, since a card multiplies by scales in the type of the hidden states; 1 for a row of zeros. Raises
    OmniError for infinite values and NaN. name: of the weight, for the error."""
    largest = np.empty((len(values), 1), np.float32)
    for rows in _row_parts(values):
        np.abs(values[rows].astype(np.float32)).max(axis=1, keepdims=True, out=largest[rows])
    if not np.isfinite(largest).all():
        row = int(np.flatnonzero(~np.isfinite(largest[:, 0]))[0])
        raise OmniError(f"{name} has a value in row {row} that is infinite or no number; download it again")
    bits = (largest / np.float32(LARGEST)).view(np.uint32)
    scales = ((bits + ~_BFLOAT16_BITS) & _BFLOAT16_BITS).view(np.float32)
    scales[scales == 0] = 1
    return scales


def rounded(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """values: any float type (out, in); scales: of `row_scales`, (out, 1). int8 (out, in), to the nearest, ties to
    even."""
    made = np.empty(values.shape, np.int8)
    for rows in _row_parts(values):
        part = values[rows].astype(np.float32)
        part /= scales[rows]
        made[rows] = np.rint(part, part)
    return made


def dequantized(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """values: int8 (out, in); scales: float32 (out, 1). Their products, bfloat16 (out, in)."""
    made = np.empty(values.shape, ml_dtypes.bfloat16)
    for rows in _row_parts(values):
        made[rows] = values[rows] * scales[rows]
    return made


def _row_parts(values: np.ndarray) -> list[slice]:
    step = max(1, _VALUES_AT_ONCE // max(1, values.shape[1]))
    return [slice(start, start + step) for start in range(0, len(values), step)]
