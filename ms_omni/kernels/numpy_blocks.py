"""Rows of tokens through blocks of decoder layers in numpy: what the CPU decodes and reads prompts with.

A block is half a layer: attention, or the feed-forward network, each with the norm before it. The rows are one token
each of several sequences, or the tokens of a prompt. Weights and caches are read where MindSpore keeps them
(`Tensor.asnumpy` of a CPU Parameter is a view), so nothing is copied, not even chosen experts. float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ms_omni.kernels.numpy_cache import Rows
from ms_omni.kernels.numpy_math import (
    dense,
    gate_share,
    joined_product,
    norm_heads,
    product,
    rotate,
    route,
    swiglu,
)

# normed hidden states (rows, hidden), and what rows they are -> what to add, (rows, hidden)
Work = Callable[[np.ndarray, Rows], np.ndarray]

# Pairs of a row and an expert whose hidden values are kept at once, unless one expert has more
PAIRS_AT_ONCE = 128


@dataclass(frozen=True)
class Block:
    """norm: weight (hidden,). is_addend: what it adds is to be summed over the ranks before the next block."""

    norm: np.ndarray
    work: Work
    is_addend: bool


class Attention:
    """Grouped-query attention with normed heads against a cache, which it writes."""

    def __init__(self, layer: Any, keys: np.ndarray, values: np.ndarray):
        """layer: a DecoderLayer. keys, values: (num_blocks, block_size, kv_heads, dim), of its cache."""
        spec = layer.spec
        # Weights that are gathered come with each call
        self.qkv = () if layer.is_gathered else (layer.qkv.asnumpy(),)
        self.o = None if layer.is_gathered else layer.o.asnumpy()
        self.qkv_bias = layer.qkv_bias.asnumpy() if spec.has_bias else None
        self.o_bias = layer.o_bias.asnumpy() if layer.adds_bias else None
        self.heads, self.kv_heads, self.dim = spec.num_heads, spec.num_kv_heads, spec.head_dim
        # As `norm_heads` takes them; the scale of the scores is in the norm of the queries
        norms = [layer.q_norm.asnumpy() * np.float32(layer.scale)] * self.heads
        norms += [layer.k_norm.asnumpy()] * self.kv_heads
        self.norms, self.least = np.array(norms) * np.float32(self.dim**0.5), np.array(layer.eps * self.dim, np.float32)
        # A row for each slot
        self.keys, self.values = (cache.reshape(-1, self.kv_heads, self.dim) for cache in (keys, values))

    def __call__(self, x: np.ndarray, rows: Rows) -> np.ndarray:
        return self.attend(x, rows, self.qkv, self.o)

    def attend(self, x: np.ndarray, rows: Rows, qkv_weights: Sequence[np.ndarray], o_weight: Any) -> np.ndarray:
        """x: (rows, hidden), normed. qkv_weights: (hidden, out) each, q, k and v in one or by themselves. o_weight:
        (heads * dim, hidden). (rows, hidden)."""
        qkv = joined_product(x, qkv_weights)
        if self.qkv_bias is not None:
            qkv += self.qkv_bias
        by_head = qkv.reshape(len(x), self.heads + 2 * self.kv_heads, self.dim)
        first_v = self.heads + self.kv_heads
        rotated = rotate(norm_heads(by_head[:, :first_v], self.norms, self.least), rows.rotary)
        rows.write(self.keys, rotated[:, self.heads :])
        rows.write(self.values, by_head[:, first_v:])
        out = product(rows.attend(rotated[:, : self.heads], self.keys, self.values), o_weight)
        return out if self.o_bias is None else out + self.o_bias


class Dense:
    """One feed-forward network."""

    def __init__(self, layer: Any):
        self.gate_up, self.down = (layer.dense_gate_up.asnumpy(),), layer.dense_down.asnumpy()

    def __call__(self, x: np.ndarray, rows: Rows) -> np.ndarray:
        return dense(x, self.gate_up, self.down)


class Experts:
    """A mixture of experts, with a shared one behind a sigmoid gate if the layer has that."""

    def __init__(self, layer: Any):
        self.router, self.top_k, self.normalize = layer.router.asnumpy(), layer.top_k, layer.normalize
        # Lists: an index into an array of experts makes a new view each time
        gate_up, down = list(layer.gate_up.asnumpy()), list(layer.down.asnumpy())
        self.network = [((first,), second) for first, second in zip(gate_up, down, strict=True)]
        self.first = layer.first_expert
        self.shared = (layer.shared_gate.asnumpy(), Dense(layer)) if layer.adds_shared else None

    def __call__(self, x: np.ndarray, rows: Rows) -> np.ndarray:
        chosen, shares = route(product(x, self.router), self.top_k, self.normalize)
        out = experts(x, chosen - self.first if self.first else chosen, shares, self.network)
        if self.shared is not None:
            gate, network = self.shared
            out += network(x, rows) * gate_share(gate, x)
        return out


Network = tuple[Sequence[np.ndarray], np.ndarray]  # gate_up and down as `dense` takes them


def experts(x: np.ndarray, chosen: np.ndarray, shares: np.ndarray, networks: Sequence[Network]) -> np.ndarray:
    """x: (rows, hidden). chosen, shares: (rows, top_k): the experts of each row, no expert twice; those that are none
    of `networks` add nothing here. (rows, hidden).

    Source: Qwen3OmniMoeThinkerTextSparseMoeBlock of transformers 4.57.1."""
    top_k, shares, out = chosen.shape[1], shares.reshape(-1, 1), np.zeros(x.shape, np.float32)
    for pairs, ends in _batches(chosen, len(networks)):
        rows, used = [pair // top_k for pair in pairs], [networks[expert] for expert, _ in ends]
        both, start = np.empty((len(pairs), 2 * used[0][1].shape[0]), np.float32), 0
        for (_, end), (gate_up, _) in zip(ends, used):
            taken = x[rows[start] : rows[start] + 1] if end - start == 1 else x.take(rows[start:end], 0)
            joined_product(taken, gate_up, both[start:end])
            start = end
        hidden, start = swiglu(both), 0
        hidden *= shares.take(pairs, 0)
        for (_, end), (_, down) in zip(ends, used):
            made = product(hidden[start:end], down)
            if end - start == 1:
                row = out[rows[start]]
                np.add(row, made[0], row)
            else:
                out[rows[start:end]] += made
            start = end
    return out


def _batches(chosen: np.ndarray, count: int) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
    """chosen: int (rows, top_k). Each expert that is from 0 to before `count` with its pairs, places in `chosen`; of
    those that are worked on together all pairs, and every expert with where its pairs end among them."""
    of_experts: dict[int, list[int]] = {}
    for pair, expert in enumerate(chosen.ravel().tolist()):
        if 0 <= expert < count:
            of_experts.setdefault(expert, []).append(pair)
    pairs: list[int] = []
    ends: list[tuple[int, int]] = []
    for expert in sorted(of_experts):
        pairs += of_experts[expert]
        ends.append((expert, len(pairs)))
        if len(pairs) >= PAIRS_AT_ONCE:
            yield pairs, ends
            pairs, ends = [], []
    if pairs:
        yield pairs, ends


def layer_blocks(layer: Any, norm: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[Block, Block]:
    """Both blocks of a DecoderLayer in float32. norm: the weight of its first norm; keys, values: its cache."""
    feed_forward = Experts(layer) if layer.has_experts else Dense(layer)
    attention = Block(norm, Attention(layer, keys, values), layer.sums_attention)
    return attention, Block(layer.norm_post.asnumpy(), feed_forward, layer.sums_feed_forward)
