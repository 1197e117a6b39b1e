"""zero3: the weights of a decoder layer as one rank stores them, gathered when the layer is used.

Each rank stores a part of all matrices but the experts' as one vector, and of each expert as one row. A token step
gathers the vector and the rows of the chosen experts: two collectives for each layer, or three where ranks own rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor, ops

from ms_omni.runtime.decoder_spec import DecoderSpec
from ms_omni.runtime.stacked_weights import Dtypes, LayerReader

ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
NETWORK = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Piece:
    """One matrix in a rank's vector. start, size: where its part is. rows, columns: of the whole matrix."""

    start: int
    size: int
    rows: int
    columns: int

    def of(self, parts: Any) -> Any:
        """parts: (ranks, n), every rank's vector, of numpy or MindSpore. (rows, columns)."""
        return parts[:, self.start : self.start + self.size].reshape(-1, self.columns)[: self.rows]


@dataclass(frozen=True)
class GatheredLayer:
    """arrays: become Parameters: "flat" (n,), and with experts "expert_rows" (experts, m); for int8 weights also the
    scales of the whole matrices, named as in `layer_weights`. matrices, in flat: q, k, v, o, then gate, up, down of a
    dense or shared expert. expert, in a row: gate, up, down."""

    arrays: dict[str, np.ndarray]
    matrices: tuple[Piece, ...]
    expert: tuple[Piece, ...]


def gathered_layer(reader: Any, prefix: str, index: int, spec: DecoderSpec, dtypes: Dtypes) -> GatheredLayer:
    """reader: a ShardedReader for zero3; prefix: "thinker.model."."""
    layer = f"{prefix}layers.{index}."
    names = [layer + name for name in ATTENTION]
    is_dense = index in spec.dense_layers
    if is_dense or spec.shared_expert:
        names += [f"{layer}mlp.{'' if is_dense else 'shared_expert.'}{name}" for name in NETWORK]
    is_int8, read = reader.dtype(f"{names[0]}.weight") == np.int8, LayerReader(reader, "", dtypes, False)
    stored = np.dtype(np.int8) if is_int8 else dtypes.floats
    arrays = {"flat": _joined(reader, [names], stored)[0]}
    if is_int8:
        joined = {"qkv": names[:3], "o": names[3:4], "dense_gate_up": names[4:6], "dense_down": names[6:]}
        arrays |= {f"{key}_scale": read.scales([each])[0] for key, each in joined.items() if each}
    expert: tuple[Piece, ...] = ()
    if not is_dense:
        rows = [[f"{layer}mlp.experts.{e}.{name}" for name in NETWORK] for e in range(spec.num_experts)]
        arrays["expert_rows"] = _joined(reader, rows, stored)
        expert = _pieces(reader, rows[0])
        if is_int8:
            arrays["gate_up_scale"] = read.scales([row[:2] for row in rows])
            arrays["down_scale"] = read.scales([row[2:] for row in rows])
    return GatheredLayer(arrays, _pieces(reader, names), expert)


def expert_matrix(taken: Tensor, piece: Piece) -> Tensor:
    """taken: (ranks, experts, size of the piece), every rank's. (experts, rows, columns)."""
    by_expert = ops.transpose(taken, (1, 0, 2)).reshape(taken.shape[1], -1, piece.columns)
    return by_expert if by_expert.shape[1] == piece.rows else by_expert[:, : piece.rows]


def without_padding(matrix: Tensor, rows: int) -> Tensor:
    """The first `rows` of matrix. No slice where nothing is padded: on Ascend it is a legacy operator."""
    return matrix if matrix.shape[0] == rows else matrix[:rows]


def _joined(reader: Any, items: Sequence[Sequence[str]], dtype: Any) -> np.ndarray:
    """(len(items), n): the values of each item's weights, one weight after the other."""
    sizes = [int(np.prod(reader.shape(f"{name}.weight"))) for name in items[0]]
    out = np.empty((len(items), sum(sizes)), dtype)
    for place, names in zip(out, items, strict=True):
        start = 0
        for name, size in zip(names, sizes, strict=True):
            place[start : start + size] = reader.read(f"{name}.weight").reshape(-1)
            reader.release(f"{name}.weight")
            start += size
    return out


def _pieces(reader: Any, names: list[str]) -> tuple[Piece, ...]:
    pieces, start = [], 0
    for name in names:
        rows, columns = reader.reader.shape(f"{name}.weight")
        size = int(np.prod(reader.shape(f"{name}.weight")))
        pieces.append(Piece(start, size, rows, columns))
        start += size
    return tuple(pieces)
