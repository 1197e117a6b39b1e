"""One token through blocks of decoder layers in numpy: what the CPU runs instead of some forty small operators a layer.

A block is half a layer: attention, or the feed-forward network, each with the norm before it. It reads weights and
cache where MindSpore keeps them (`Tensor.asnumpy` of a CPU Parameter is a view), so nothing is copied, not even chosen
experts, and attention reads the filled rows alone. float32. The operators of `decoder_ops` define what is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ms_omni.kernels.decoder_ops_cpu_experts import silu

# normed hidden state (hidden,), rotary (2, head_dim) of cosines and signed sines, cache row -> what to add, (hidden,)
Work = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Block:
    """norm: weight (hidden,). is_addend: what it adds is to be summed over the ranks before the next block."""

    norm: np.ndarray
    work: Work
    is_addend: bool


class TokenBlocks:
    """Consecutive blocks as one kernel."""

    def __init__(self, blocks: Sequence[Block], inv_freq: np.ndarray, eps: float, final_norm: np.ndarray | None = None):
        """inv_freq: float32 (head_dim / 2,). final_norm: weight of the norm behind the last layer, (hidden,), if that
        is among these."""
        self.blocks, self.inv_freq, self.eps, self.final_norm = blocks, inv_freq, eps, final_norm

    def __call__(
        self, added: np.ndarray, residual: np.ndarray, rope_position: float, position: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """added, residual: (1, hidden), whose sum enters the first block. position: the token's cache row. The same of
        what leaves the last one; behind the last layer the normed hidden state instead of what was added."""
        out, total = added[0], residual[0]
        rotary = rotary_of(np.float32(rope_position) * self.inv_freq)
        for block in self.blocks:
            total = total + out
            out = block.work(rms_norm(total, block.norm, self.eps), rotary, position)
        if self.final_norm is not None:
            total = total + out
            out = rms_norm(total, self.final_norm, self.eps)
        return out[None], total[None]


class Attention:
    """Grouped-query attention with normed heads against a cache, which it writes."""

    def __init__(self, layer: Any, keys: np.ndarray, values: np.ndarray):
        """layer: a DecoderLayer. keys, values: (kv_heads * capacity, head_dim), of its cache."""
        spec = layer.spec
        # Weights that are gathered come with each call
        self.qkv = None if layer.is_gathered else layer.qkv.asnumpy()
        self.o = None if layer.is_gathered else layer.o.asnumpy()
        self.qkv_bias = layer.qkv_bias.asnumpy() if spec.has_bias else None
        self.o_bias = layer.o_bias.asnumpy() if layer.adds_bias else None
        self.heads, self.kv_heads, self.dim, self.eps = spec.num_heads, spec.num_kv_heads, spec.head_dim, layer.eps
        # The scale of the scores is in the norm of the queries
        self.norms = np.concatenate(
            [
                np.tile(layer.q_norm.asnumpy() * np.float32(layer.scale), (self.heads, 1)),
                np.tile(layer.k_norm.asnumpy(), (self.kv_heads, 1)),
            ]
        )
        shape = (self.kv_heads, -1, self.dim)
        self.keys, self.values = keys.reshape(shape), values.reshape(shape)

    def __call__(self, x: np.ndarray, rotary: np.ndarray, position: int) -> np.ndarray:
        return self.attend(x, rotary, position, self.qkv, self.o)

    def attend(self, x: np.ndarray, rotary: np.ndarray, position: int, qkv_weight: Any, o_weight: Any) -> np.ndarray:
        """x: (hidden,), normed. qkv_weight, o_weight: of `layer_weights`. (hidden,)."""
        qkv = qkv_weight.dot(x)
        if self.qkv_bias is not None:
            qkv += self.qkv_bias
        by_head = qkv.reshape(-1, self.dim)
        first_v = self.heads + self.kv_heads
        rotated = _rotate(_norm_heads(by_head[:first_v], self.norms, self.eps), rotary)
        self.keys[:, position] = rotated[self.heads :]
        self.values[:, position] = by_head[first_v:]
        out = o_weight.dot(self._attend(rotated[: self.heads], position + 1))
        return out if self.o_bias is None else out + self.o_bias

    def _attend(self, q: np.ndarray, filled: int) -> np.ndarray:
        """q: (heads, dim), scaled. (heads * dim,)."""
        scores = np.matmul(q.reshape(self.kv_heads, -1, self.dim), self.keys[:, :filled].swapaxes(1, 2))
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        return np.matmul(scores, self.values[:, :filled]).reshape(-1)


class Dense:
    """One feed-forward network."""

    def __init__(self, layer: Any):
        self.gate_up, self.down = layer.dense_gate_up.asnumpy(), layer.dense_down.asnumpy()

    def __call__(self, x: np.ndarray, rotary: np.ndarray, position: int) -> np.ndarray:
        return dense(x, self.gate_up, self.down)


class Experts:
    """A mixture of experts, with a shared one behind a sigmoid gate if the layer has that."""

    def __init__(self, layer: Any):
        self.router = layer.router.asnumpy()
        # Lists: an index into an array of experts makes a new view each time
        self.gate_up, self.down = list(layer.gate_up.asnumpy()), list(layer.down.asnumpy())
        self.half, self.top_k, self.normalize = self.gate_up[0].shape[0] // 2, layer.top_k, layer.normalize
        self.first = layer.first_expert
        self.shared = (layer.shared_gate.asnumpy()[0], Dense(layer)) if layer.adds_shared else None

    def __call__(self, x: np.ndarray, rotary: np.ndarray, position: int) -> np.ndarray:
        chosen, shares = self._route(self.router.dot(x))
        both = np.empty((len(chosen), 2 * self.half), np.float32)
        for row, expert in zip(both, chosen, strict=True):
            np.dot(self.gate_up[expert], x, out=row)
        hidden = silu(both[:, : self.half]) * both[:, self.half :] * shares[:, None]
        out = np.zeros(x.shape, np.float32)
        for row, expert in zip(hidden, chosen, strict=True):
            out += self.down[expert].dot(row)
        if self.shared is not None:
            gate, network = self.shared
            out += network(x, rotary, position) * gate_share(gate, x)
        return out

    def _route(self, logits: np.ndarray) -> tuple[list[int], np.ndarray]:
        """Those of the top_k experts whose weights are here, and their shares."""
        chosen, shares = route(logits, self.top_k, self.normalize)
        if len(self.down) < logits.size:
            chosen = chosen - self.first
            here = (chosen >= 0) & (chosen < len(self.down))
            chosen, shares = chosen[here], shares[here]
        return chosen.tolist(), shares


def route(logits: np.ndarray, top_k: int, normalize: bool) -> tuple[np.ndarray, np.ndarray]:
    """logits: (experts,). The top_k and their shares, (top_k,) each, as `route` of `decoder_ops`."""
    chosen = np.argpartition(logits, -top_k)[-top_k:]
    chances = np.exp(logits[chosen] - logits.max())
    everything = chances if normalize else np.exp(logits - logits.max())
    return chosen, chances / everything.sum()


def dense(x: np.ndarray, gate_up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """x: (hidden,), gate_up: (2 * inner, hidden), down: (hidden, inner)."""
    both = gate_up.dot(x)
    half = both.size // 2
    return down.dot(silu(both[:half]) * both[half:])


def gate_share(gate: np.ndarray, x: np.ndarray) -> np.float32:
    """sigmoid(gate . x): how much the shared expert counts."""
    return np.float32(1 / (1 + math.exp(-max(gate.dot(x), -80.0))))


def layer_blocks(layer: Any, norm: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[Block, Block]:
    """Both blocks of a DecoderLayer in float32. norm: the weight of its first norm; keys, values: its cache."""
    feed_forward = Experts(layer) if layer.has_experts else Dense(layer)
    attention = Block(norm, Attention(layer, keys, values), layer.sums_attention)
    return attention, Block(layer.norm_post.asnumpy(), feed_forward, layer.sums_feed_forward)


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """x, weight: (hidden,)."""
    return x * weight * np.float32(1 / math.sqrt(x.dot(x) / x.size + eps))


def _norm_heads(heads: np.ndarray, weights: np.ndarray, eps: float) -> np.ndarray:
    """heads, weights: (n, dim). Every head by itself."""
    squares = np.einsum("ij,ij->i", heads, heads)
    return heads * weights / np.sqrt(squares / np.float32(heads.shape[1]) + np.float32(eps))[:, None]


def rotary_of(angles: np.ndarray) -> np.ndarray:
    """angles: (head_dim / 2,). (2, head_dim): cosines, and sines with the signs of rotate_half."""
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([cos, cos, -sin, sin]).reshape(2, -1)


def _rotate(heads: np.ndarray, rotary: np.ndarray) -> np.ndarray:
    """heads: (n, dim)."""
    swapped = heads.reshape(heads.shape[0], 2, -1)[:, ::-1].reshape(heads.shape)
    return heads * rotary[0] + swapped * rotary[1]
