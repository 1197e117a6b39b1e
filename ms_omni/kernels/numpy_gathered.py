"""zero3 on a CPU: the layers of `numpy_blocks` with weights that were just gathered.

Weights come in the checkpoint's layout, (out, in), and are read as transposed views. The first half of a layer decides
which experts are gathered, so a layer is two kernels of a graph, or one if it is dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ms_omni.kernels.numpy_blocks import Attention, Network, experts
from ms_omni.kernels.numpy_cache import Rows
from ms_omni.kernels.numpy_int8 import Int8Matrix
from ms_omni.kernels.numpy_math import Weight, dense, gate_share, product, rms_norm, route
from ms_omni.kernels.numpy_step import with_live_rows


class GatheredAttention:
    """Attention, then the dense or shared network, and with experts the router."""

    def __init__(self, layer: Any, norm: np.ndarray, keys: np.ndarray, values: np.ndarray):
        """layer: a DecoderLayer whose weights are gathered. norm: weight of its first norm. keys, values: its cache."""
        self.attention, self.eps = Attention(layer, keys, values), layer.eps
        self.norm, self.norm_post, self.pieces = norm, layer.norm_post.asnumpy(), layer.matrices
        self.has_experts, self.top_k, self.normalize = layer.has_experts, layer.top_k, layer.normalize
        self.scales = _by_piece(_array(layer.qkv_scale), _array(layer.o_scale), self.pieces[:4])
        if len(self.pieces) > 4:
            network = _array(layer.dense_gate_up_scale), _array(layer.dense_down_scale)
            self.scales += _by_piece(*network, self.pieces[4:])
        self.rounds_rows = layer.rounds_rows
        self.shared_gate = layer.shared_gate.asnumpy() if layer.has_shared else None
        if layer.has_experts:
            self.router = layer.router.asnumpy()

    def __call__(
        self, added: np.ndarray, residual: np.ndarray, rows: Rows, parts: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """added, residual: (rows, hidden), whose sum enters the layer. parts: (ranks, n), every rank's `flat`. Returns
        (added, residual) behind the layer. With experts: the shared expert's output, the residual, the input of the
        experts, (rows, hidden) each, their routing weights, float32 (rows, top_k), and their numbers, int32 (rows,
        top_k)."""
        weights = zip(self.pieces, self.scales, strict=True)
        q, k, v, o, *network = (_weight(piece.of(parts), scale, self.rounds_rows) for piece, scale in weights)
        residual = residual + added
        normed = rms_norm(residual, self.norm, self.eps)
        residual = residual + self.attention.attend(normed, rows, (q, k, v), o)
        normed = rms_norm(residual, self.norm_post, self.eps)
        out = dense(normed, network[:2], network[2]) if network else np.zeros_like(normed)
        if not self.has_experts:
            return out, residual
        if self.shared_gate is not None:
            out *= gate_share(self.shared_gate, normed)
        chosen, shares = route(product(normed, self.router), self.top_k, self.normalize)
        return out, residual, normed, shares, chosen.astype(np.int32)


class GatheredAttentionStep:
    """`GatheredAttention` as a graph kernel for one token of each row."""

    def __init__(self, work: GatheredAttention, inv_freq: np.ndarray, block_size: int):
        self.work, self.inv_freq, self.block_size = work, inv_freq, block_size

    def __call__(
        self,
        added: np.ndarray,
        residual: np.ndarray,
        rope_positions: np.ndarray,
        lengths: np.ndarray,
        block_tables: np.ndarray,
        parts: np.ndarray,
    ) -> tuple[np.ndarray, ...]:
        """Inputs of `StepBlocks` and `parts`; outputs of `GatheredAttention`."""

        def work(added: np.ndarray, residual: np.ndarray, rows: Rows) -> tuple[np.ndarray, ...]:
            return self.work(added, residual, rows, parts)

        angles = rope_positions[:, None] * self.inv_freq
        return with_live_rows(work, added, residual, angles, lengths, block_tables, self.block_size)


class GatheredExperts:
    """The chosen experts of every row as a graph kernel."""

    def __init__(self, layer: Any):
        self.pieces = ExpertPieces(layer)

    def __call__(
        self, added: np.ndarray, x: np.ndarray, shares: np.ndarray, chosen: np.ndarray, parts: np.ndarray
    ) -> tuple[np.ndarray]:
        """added: (rows, hidden), to add to. x: (rows, hidden), normed. shares: (rows, top_k), 0 in padding rows.
        chosen: int32 (rows, top_k). parts: (ranks, rows * top_k, m)."""
        places = np.where(shares, np.arange(shares.size).reshape(shares.shape), -1)
        return (added + experts(x, places, shares, ExpertParts(parts, self.pieces, chosen.ravel())),)


class ExpertPieces:
    """Where gate, up and down lie in an expert's gathered row, and the scales of all experts."""

    def __init__(self, layer: Any):
        """layer: a DecoderLayer. Make it outside of kernels, which must not wait for MindSpore's tensors."""
        self.pieces, self.rounds_rows = layer.expert, layer.rounds_rows
        # (experts, rows) of each piece
        self.scales = _by_piece(_array(layer.gate_up_scale), _array(layer.down_scale), self.pieces)

    def network(self, parts: np.ndarray, number: int) -> Network:
        """parts: (ranks, m), every rank's part of expert `number` of the layer."""
        scales = (None if scale is None else scale[number] for scale in self.scales)
        weights = zip(self.pieces, scales, strict=True)
        gate, up, down = (_weight(piece.of(parts), scale, self.rounds_rows) for piece, scale in weights)
        return (gate, up), down


class ExpertParts(Sequence[Network]):
    """Experts of which every rank has a part, joined when they are used."""

    def __init__(self, parts: np.ndarray, pieces: ExpertPieces, numbers: np.ndarray | None = None):
        """parts: (ranks, experts, m). numbers: which experts of the layer they are; None for all."""
        self.parts, self.pieces, self.numbers = parts, pieces, numbers

    def __len__(self) -> int:
        return int(self.parts.shape[1])

    def __getitem__(self, place: Any) -> Any:
        return self.pieces.network(self.parts[:, place], place if self.numbers is None else self.numbers[place])


def _array(parameter: Any) -> np.ndarray | None:
    return None if parameter is None else parameter.asnumpy()


def _by_piece(joined: np.ndarray | None, last: np.ndarray | None, pieces: Sequence[Any]) -> list[np.ndarray | None]:
    """The scales of each piece. joined: (..., rows), of all pieces but the last, concatenated. last: of the last piece.
    None without scales."""
    if joined is None:
        return [None] * len(pieces)
    ends = np.cumsum([piece.rows for piece in pieces[:-2]])
    return [*np.split(joined, ends, axis=-1), last]


def _weight(values: np.ndarray, scales: np.ndarray | None, rounds_rows: bool) -> Weight:
    """values: (out, in)."""
    return values.T if scales is None else Int8Matrix(values, scales, rounds_rows)
