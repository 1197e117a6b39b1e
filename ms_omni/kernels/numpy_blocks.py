"""Decoder layers in numpy, for decoding and for prompts on the CPU.

A block is half a layer: attention or the feed-forward network, with the norm before it. Rows are one token of each of
several sequences, or the tokens of prompts. Weights and caches are views of MindSpore's memory (`Tensor.asnumpy` of a
CPU Parameter), so nothing is copied, not even chosen experts. float32.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ms_omni.kernels.host_threads import in_parallel, in_row_parts, threads_for
from ms_omni.kernels.numpy_cache import Rows
from ms_omni.kernels.numpy_int8 import Int8Matrix
from ms_omni.kernels.numpy_math import (
    Weight,
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

# Pairs of a row and an expert that a thread works on together at most, unless one expert has more
PAIRS_AT_ONCE = 128
# Pairs that take as long as reading an expert's weights. Eight rows of 4 out of 32 experts of 512 x 256, eight layers,
# on two cores: 8.4 ms with 0, 8.1 to 8.3 with 1 to 5
READING_COST = 2


@dataclass(frozen=True)
class Block:
    """norm: weight (hidden,). is_addend: its output must be summed over the ranks before the next block."""

    norm: np.ndarray
    work: Work
    is_addend: bool


def matrix_of(layer: Any, name: str) -> Weight:
    """A matrix of a DecoderLayer, as a view of its Parameter."""
    values = getattr(layer, name).asnumpy()
    if values.dtype != np.int8:
        return values
    return Int8Matrix(values, getattr(layer, f"{name}_scale").asnumpy(), layer.rounds_rows)


def matrices_of(layer: Any, name: str) -> list[Weight]:
    """One matrix for each expert. (A list: an index into an array of experts makes a new view each time.)"""
    values = getattr(layer, name).asnumpy()
    if values.dtype != np.int8:
        return list(values)
    scales = getattr(layer, f"{name}_scale").asnumpy()
    return [Int8Matrix(*each, layer.rounds_rows) for each in zip(values, scales, strict=True)]


class Attention:
    """Grouped-query attention with normed heads; writes and reads the cache."""

    def __init__(self, layer: Any, keys: np.ndarray, values: np.ndarray):
        """layer: a DecoderLayer. keys, values: (num_blocks, block_size, kv_heads, dim), its cache."""
        spec = layer.spec
        # Weights that are gathered come with each call
        self.qkv = () if layer.is_gathered else (matrix_of(layer, "qkv"),)
        self.o = None if layer.is_gathered else matrix_of(layer, "o")
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
        """As `attend`, with this layer's own weights."""
        return self.attend(x, rows, self.qkv, self.o)

    def attend(self, x: np.ndarray, rows: Rows, qkv_weights: Sequence[Weight], o_weight: Any) -> np.ndarray:
        """x: (rows, hidden), normed. qkv_weights: (hidden, out) each: one for q, k and v together, or three. o_weight:
        (heads * dim, hidden). (rows, hidden)."""
        first_v = self.heads + self.kv_heads

        def project(part: slice) -> np.ndarray:
            qkv = joined_product(x[part], qkv_weights)
            if self.qkv_bias is not None:
                qkv += self.qkv_bias
            by_head = qkv.reshape(len(qkv), first_v + self.kv_heads, self.dim)
            turned = by_head[:, :first_v]
            cos, sin = rows.rotary
            rotate(norm_heads(turned, self.norms, self.least), (cos[part], sin[part]), turned)
            return by_head

        heads = in_row_parts(project, len(x), (first_v + self.kv_heads, self.dim))
        rows.write(self.keys, heads[:, self.heads : first_v])
        rows.write(self.values, heads[:, first_v:])
        attended = rows.attend(heads[:, : self.heads], self.keys, self.values)

        def leave(part: slice) -> np.ndarray:
            out = product(attended[part], o_weight)
            return out if self.o_bias is None else out + self.o_bias

        return in_row_parts(leave, len(x), o_weight.shape[1:])


class Dense:
    """One feed-forward network."""

    def __init__(self, layer: Any):
        self.gate_up, self.down = (matrix_of(layer, "dense_gate_up"),), matrix_of(layer, "dense_down")

    def __call__(self, x: np.ndarray, rows: Rows) -> np.ndarray:
        """x: (rows, hidden), normed. (rows, hidden)."""
        return in_row_parts(lambda part: dense(x[part], self.gate_up, self.down), len(x), x.shape[1:])


class Experts:
    """A mixture of experts, with a shared one behind a sigmoid gate if the layer has that."""

    def __init__(self, layer: Any):
        self.router, self.top_k, self.normalize = layer.router.asnumpy(), layer.top_k, layer.normalize
        gate_up, down = matrices_of(layer, "gate_up"), matrices_of(layer, "down")
        self.network = [((first,), second) for first, second in zip(gate_up, down, strict=True)]
        self.first = layer.first_expert
        self.shared = (layer.shared_gate.asnumpy(), Dense(layer)) if layer.adds_shared else None

    def __call__(self, x: np.ndarray, rows: Rows) -> np.ndarray:
        """x: (rows, hidden), normed. (rows, hidden): what this rank's experts add."""
        chosen, shares = route(product(x, self.router), self.top_k, self.normalize)
        out = experts(x, chosen - self.first if self.first else chosen, shares, self.network)
        if self.shared is not None:
            gate, network = self.shared
            out += network(x, rows) * gate_share(gate, x)
        return out


Network = tuple[Sequence[Weight], Weight]  # gate_up and down as `dense` takes them


def experts(x: np.ndarray, chosen: np.ndarray, shares: np.ndarray, networks: Sequence[Network]) -> np.ndarray:
    """x: (rows, hidden). chosen, shares: (rows, top_k): the experts of each row, none twice, and their routing weights;
    experts outside of `networks` add nothing. (rows, hidden).

    Source: Qwen3OmniMoeThinkerTextSparseMoeBlock of transformers 4.57.1."""
    num_rows, top_k = chosen.shape
    chosen = chosen.ravel()
    order = chosen.argsort(kind="stable")
    rows, shares = order // top_k, shares.reshape(-1, 1).take(order, 0)
    made = np.zeros((len(order), x.shape[1]), np.float32)  # a row for each pair of row and expert, sorted by expert

    def work(batch: list[Group]) -> None:
        first, last, used = batch[0][1], batch[-1][2], [networks[expert] for expert, _, _ in batch]
        both = np.empty((last - first, 2 * used[0][1].shape[0]), np.float32)
        for (_, start, end), (gate_up, _) in zip(batch, used, strict=True):
            taken = x if num_rows == 1 else x.take(rows[start:end], 0)
            joined_product(taken, gate_up, both[start - first : end - first])
        hidden = swiglu(both)
        hidden *= shares[first:last]
        for (_, start, end), (_, down) in zip(batch, used, strict=True):
            product(hidden[start - first : end - first], down, made[start:end])

    in_parallel(work, _batches(chosen.take(order), networks))
    if num_rows == 1:
        return np.add.reduce(made, 0, keepdims=True)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    places = places.reshape(num_rows, top_k)
    places.sort(1)  # so that a row's sum does not depend on the rows beside it
    return in_row_parts(lambda part: np.add.reduce(made.take(places[part], 0), 1), num_rows, x.shape[1:])


Group = tuple[int, int, int]  # an expert, its first pair, and the pair behind its last


def _batches(chosen: np.ndarray, networks: Sequence[Network]) -> Iterator[list[Group]]:
    """chosen: int (pairs,), sorted. The groups of `networks`, in batches for one thread each, of about the same
    cost."""
    groups: list[Group] = []
    end = 0
    for expert, pairs in Counter(chosen.tolist()).items():
        start, end = end, end + pairs
        if 0 <= expert < len(networks):
            groups.append((expert, start, end))
    whole = sum(READING_COST + end - start for _, start, end in groups)
    threads = threads_for(whole * 3 * math.prod(networks[0][1].shape))
    batch: list[Group] = []
    cost = 0
    for group in groups:
        batch.append(group)
        cost += READING_COST + group[2] - group[1]
        if threads > 1 and (group[2] - batch[0][1] >= PAIRS_AT_ONCE or cost * threads >= whole):
            yield batch
            batch, cost = [], 0
    if batch:
        yield batch


def layer_blocks(layer: Any, norm: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[Block, Block]:
    """The two blocks of a DecoderLayer. norm: weight of its first norm. keys, values: its cache."""
    feed_forward = Experts(layer) if layer.has_experts else Dense(layer)
    attention = Block(norm, Attention(layer, keys, values), layer.sums_attention)
    return attention, Block(layer.norm_post.asnumpy(), feed_forward, layer.sums_feed_forward)
