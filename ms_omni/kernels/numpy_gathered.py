"""zero3 on a CPU: one token through a layer whose weights were just gathered, in two kernels, as in `numpy_blocks`.

By operators a layer would be some sixty hand-overs between MindSpore's threads, and several processes on few cores wait
at each of them for their turn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ms_omni.kernels.decoder_ops_cpu_experts import silu
from ms_omni.kernels.numpy_blocks import Attention, dense, gate_share, rms_norm, rotary_of, route


class GatheredAttention:
    """The first kernel: attention, then all of a dense network, or for experts the router."""

    def __init__(self, layer: Any, norm: np.ndarray, keys: np.ndarray, values: np.ndarray, inv_freq: np.ndarray):
        """layer: a DecoderLayer whose weights are gathered. norm: weight of its first norm."""
        self.attention, self.inv_freq, self.eps = Attention(layer, keys, values), inv_freq, layer.eps
        self.norm, self.norm_post, self.pieces = norm, layer.norm_post.asnumpy(), layer.matrices
        self.has_experts, self.top_k, self.normalize = layer.has_experts, layer.top_k, layer.normalize
        self.shared_gate = layer.shared_gate.asnumpy()[0] if layer.has_shared else None
        if layer.has_experts:
            self.router = layer.router.asnumpy()

    def __call__(
        self, added: np.ndarray, residual: np.ndarray, rope_position: float, position: int, parts: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """added, residual: (1, hidden), whose sum enters the layer. parts: (ranks, n), every rank's `flat`. Returns the
        same of what leaves it; with experts: what a shared expert adds, the residual, what enters the experts, (1,
        hidden) each, their shares (1, top_k), and which they are, int32 (1, top_k)."""
        q, k, v, o, *network = (piece.of(parts) for piece in self.pieces)
        rotary = rotary_of(np.float32(rope_position) * self.inv_freq)
        total = residual[0] + added[0]
        normed = rms_norm(total, self.norm, self.eps)
        total = total + self.attention.attend(normed, rotary, position, np.concatenate((q, k, v)), o)
        normed = rms_norm(total, self.norm_post, self.eps)
        out = dense(normed, np.concatenate(network[:2]), network[2]) if network else np.zeros_like(total)
        if not self.has_experts:
            return out[None], total[None]
        if self.shared_gate is not None:
            out = out * gate_share(self.shared_gate, normed)
        chosen, shares = route(self.router.dot(normed), self.top_k, self.normalize)
        return out[None], total[None], normed[None], shares[None], chosen[None].astype(np.int32)


class GatheredExperts:
    """The second kernel: the chosen experts."""

    def __init__(self, layer: Any):
        self.pieces = layer.expert

    def __call__(self, added: np.ndarray, x: np.ndarray, shares: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray]:
        """added: (1, hidden), to add to. x: (1, hidden), normed. shares: (1, top_k). parts: (ranks, top_k, m)."""
        out = added[0].copy()
        for place, share in enumerate(shares[0]):
            gate, up, down = (piece.of(parts[:, place]) for piece in self.pieces)
            out += down.dot(silu(gate.dot(x[0])) * up.dot(x[0]) * share)
        return (out[None],)
