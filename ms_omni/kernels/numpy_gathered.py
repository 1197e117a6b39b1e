"""zero3 on a CPU: rows through a layer whose weights were just gathered, as in `numpy_blocks`.

The weights come in the checkpoint's layout, (out, in), and are read as transposed views. Which experts travel depends
on the first half of the layer, so a layer is two kernels of a graph, or one if it is dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ms_omni.kernels.numpy_blocks import Attention, Network, experts
from ms_omni.kernels.numpy_cache import Rows
from ms_omni.kernels.numpy_math import dense, gate_share, product, rms_norm, route
from ms_omni.kernels.numpy_step import with_live_rows


class GatheredAttention:
    """Attention, then all of a dense network, or for experts the router."""

    def __init__(self, layer: Any, norm: np.ndarray, keys: np.ndarray, values: np.ndarray):
        """layer: a DecoderLayer whose weights are gathered. norm: weight of its first norm. keys, values: its cache."""
        self.attention, self.eps = Attention(layer, keys, values), layer.eps
        self.norm, self.norm_post, self.pieces = norm, layer.norm_post.asnumpy(), layer.matrices
        self.has_experts, self.top_k, self.normalize = layer.has_experts, layer.top_k, layer.normalize
        self.shared_gate = layer.shared_gate.asnumpy() if layer.has_shared else None
        if layer.has_experts:
            self.router = layer.router.asnumpy()

    def __call__(
        self, added: np.ndarray, residual: np.ndarray, rows: Rows, parts: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """added, residual: (rows, hidden), whose sum enters the layer. parts: (ranks, n), every rank's `flat`. Returns
        the same of what leaves it; with experts: what a shared expert adds, the residual, what enters the experts,
        (rows, hidden) each, their shares, float32 (rows, top_k), and which they are, int32 (rows, top_k)."""
        q, k, v, o, *network = (piece.of(parts).T for piece in self.pieces)
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
    """`GatheredAttention` as a kernel of a graph that makes a token for each row."""

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
    """The chosen experts of every row, which came one after the other."""

    def __init__(self, layer: Any):
        self.pieces = layer.expert

    def __call__(self, added: np.ndarray, x: np.ndarray, shares: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray]:
        """added: (rows, hidden), to add to. x: (rows, hidden), normed. shares: (rows, top_k), 0 of rows of nobody.
        parts: (ranks, rows * top_k, m)."""
        chosen = np.where(shares, np.arange(shares.size).reshape(shares.shape), -1)
        return (added + experts(x, chosen, shares, ExpertParts(parts, self.pieces)),)


class ExpertParts(Sequence[Network]):
    """Experts that every rank has a part of, put together when they are used. parts: (ranks, experts, m)."""

    def __init__(self, parts: np.ndarray, pieces: Sequence[Any]):
        self.parts, self.pieces = parts, pieces

    def __len__(self) -> int:
        return int(self.parts.shape[1])

    def __getitem__(self, expert: Any) -> Any:
        gate, up, down = (piece.of(self.parts[:, expert]).T for piece in self.pieces)
        return (gate, up), down
