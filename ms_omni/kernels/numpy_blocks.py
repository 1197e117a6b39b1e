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
        self.heads, self.kv_heads, self.dim, self.eps = spec.num_heads, spec.num_kv_heads, spec.head_dim, layer.eps
        # The scale of the scores is in the norm of the queries
        self.norms = np.concatenate(
            [
                np.tile(layer.q_norm.asnumpy() * np.float32(layer.scale), (self.heads, 1)),
                np.tile(layer.k_norm.asnumpy(), (self.kv_heads, 1)),
            ]
        )
        self.keys, self.values = keys, values

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
        rotated = rotate(norm_heads(by_head[:, :first_v], self.norms, self.eps), rows.rotary)
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
    top_k, out = chosen.shape[1], np.zeros(x.shape, np.float32)
    by_expert = np.argsort(chosen, axis=None, kind="stable")
    tokens, shares = by_expert // top_k, shares.reshape(-1, 1)[by_expert]
    for groups in _groups(chosen.reshape(-1)[by_expert], len(networks)):
        first, last = groups[0][1], groups[-1][2]
        chosen_networks = [networks[expert] for expert, _, _ in groups]
        width = sum(weight.shape[1] for weight in chosen_networks[0][0])
        both = np.empty((last - first, width), np.float32)
        places = [_places(tokens, start, end) for _, start, end in groups]
        for (_, start, end), rows, network in zip(groups, places, chosen_networks, strict=True):
            joined_product(x[rows], network[0], both[start - first : end - first])
        hidden = swiglu(both)
        hidden *= shares[first:last]
        for (_, start, end), rows, network in zip(groups, places, chosen_networks, strict=True):
            out[rows] += product(hidden[start - first : end - first], network[1])
    return out


def _places(tokens: np.ndarray, start: int, end: int) -> slice | np.ndarray:
    """An index; that of a single row makes a view."""
    if end - start > 1:
        return tokens[start:end]
    token = int(tokens[start])
    return slice(token, token + 1)


def _groups(experts: np.ndarray, count: int) -> Iterator[list[tuple[int, int, int]]]:
    """experts: int, rising. (expert, start, end) of each that is from 0 to before `count`, those that are worked on
    together in one list."""
    if not len(experts):
        return
    starts = [0, *(np.flatnonzero(experts[1:] != experts[:-1]) + 1).tolist()]
    groups: list[tuple[int, int, int]] = []
    for start, end in zip(starts, [*starts[1:], len(experts)], strict=True):
        expert = int(experts[start])
        if not 0 <= expert < count:
            continue
        groups.append((expert, start, end))
        if end - groups[0][1] >= PAIRS_AT_ONCE:
            yield groups
            groups = []
    if groups:
        yield groups


def layer_blocks(layer: Any, norm: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[Block, Block]:
    """Both blocks of a DecoderLayer in float32. norm: the weight of its first norm; keys, values: its cache."""
    feed_forward = Experts(layer) if layer.has_experts else Dense(layer)
    attention = Block(norm, Attention(layer, keys, values), layer.sums_attention)
    return attention, Block(layer.norm_post.asnumpy(), feed_forward, layer.sums_feed_forward)
