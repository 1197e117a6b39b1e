"""A layer of an encoder in numpy: attention within segments, and a network; every core takes some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ms_omni.errors import OmniError
from ms_omni.kernels.cpu_arrays import float32_array
from ms_omni.kernels.host_threads import in_parallel, row_parts
from ms_omni.kernels.matmul import matmul
from ms_omni.kernels.numpy_activations import gelu, gelu_tanh, layer_norm
from ms_omni.kernels.numpy_attention import Segment, attention

_ACTIVATIONS: dict[str, Callable[[np.ndarray], None]] = {"gelu": gelu, "gelu_pytorch_tanh": gelu_tanh}


def activation(name: str) -> Callable[[np.ndarray], None]:
    """The in-place function for transformers' name of an activation. Raises OmniError for a name that the released
    model does not use."""
    if name not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise OmniError(f"config.json: an encoder's activation {name!r} is not known on a CPU: {known}")
    return _ACTIVATIONS[name]


class Linear:
    """x @ weight.T + bias of a mindone Linear; the weight is a view of its Parameter."""

    def __init__(self, cell: Any):
        self.weight = float32_array(cell.weight).T
        self.bias = None if cell.bias is None else float32_array(cell.bias)

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """x: (rows, in). (rows, out)."""
        out = matmul(x, self.weight, out)
        if self.bias is not None:
            out += self.bias
        return out


class LayerNorm:
    """A mindone LayerNorm."""

    def __init__(self, cell: Any):
        self.weight, self.bias, self.eps = float32_array(cell.weight), float32_array(cell.bias), cell.eps

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x: (..., hidden). A new array."""
        return layer_norm(x, self.weight, self.bias, self.eps)


class EncoderLayer:
    """h = x + attention(norm(x)), then h + network(norm(h))."""

    def __init__(
        self,
        norms: Sequence[LayerNorm],
        projections: Sequence[Linear],
        out: Linear,
        network: tuple[Linear, Callable[[np.ndarray], None], Linear],
        num_heads: int,
        scale: float,
    ):
        """norms: before attention and network. projections: one to queries, keys and values side by side, or three."""
        self.norms, self.projections, self.out, self.network = norms, projections, out, network
        self.num_heads, self.scale = num_heads, np.float32(scale)

    def __call__(
        self, x: np.ndarray, segment_lengths: Sequence[int], rotary: tuple[np.ndarray, np.ndarray] | None = None
    ) -> None:
        """x: float32 (rows, hidden), overwritten; a row sees the rows of its segment. rotary: cosines and sines, (rows,
        head_dim) each, with equal halves."""
        rows, hidden = x.shape
        qkv = np.empty((3, self.num_heads, rows, hidden // self.num_heads), np.float32)
        in_parallel(lambda part: self._project(x, qkv, rotary, *part), row_parts(rows))
        attended = attention(qkv[0, :, :, None], _segments(qkv, segment_lengths))
        in_parallel(lambda part: self._finish(x, attended, *part), row_parts(rows))

    def _project(
        self, x: np.ndarray, qkv: np.ndarray, rotary: tuple[np.ndarray, np.ndarray] | None, start: int, end: int
    ) -> None:
        """Writes qkv, (3, heads, rows, dim): products read the rows of one head faster in this layout."""
        normed = self.norms[0](x[start:end])
        by_row = np.empty((end - start, 3, *qkv.shape[1::2]), np.float32)
        here = by_row.reshape(end - start, len(self.projections), -1)
        for number, projection in enumerate(self.projections):
            projection(normed, here[:, number])
        by_row[:, 0] *= self.scale
        if rotary is not None:
            _rotate(by_row[:, :2], rotary[0][start:end], rotary[1][start:end])
        qkv[:, :, start:end] = by_row.transpose(1, 2, 0, 3)

    def _finish(self, x: np.ndarray, attended: np.ndarray, start: int, end: int) -> None:
        """The layer behind attention, for the rows from `start` to `end`."""
        here = x[start:end]
        here += self.out(attended[start:end].reshape(end - start, -1))
        widen, activation, narrow = self.network
        inner = widen(self.norms[1](here))
        activation(inner)
        here += narrow(inner)


def _segments(qkv: np.ndarray, segment_lengths: Sequence[int]) -> Iterator[Segment]:
    """qkv: (3, heads, rows, dim)."""
    for length, end in zip(segment_lengths, accumulate(segment_lengths), strict=True):
        rows = slice(end - length, end)
        yield Segment(rows, qkv[1, :, rows], qkv[2, :, rows])


def _rotate(heads: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> None:
    """heads: (rows, n, heads, dim), changed. Source: `apply_rotary_pos_emb_vision` of transformers 4.57.1."""
    half = heads.shape[-1] // 2
    cos, sin = cos[:, None, None, :half], sin[:, None, None, :half]
    first, second = heads[..., :half].copy(), heads[..., half:]
    heads[..., :half] *= cos
    heads[..., :half] -= second * sin
    second *= cos
    second += first * sin
