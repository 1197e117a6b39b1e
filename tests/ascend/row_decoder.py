"""A decoder over rows with paged caches, of the operators of a card alone, as a decode graph has it; and the same
in plain float32. Sizes in small, but the released heads: 8 of q to one of k and v, of size 128."""

from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ms_omni.kernels import decoder_ops_ascend as layer_ops
from ms_omni.kernels import decoder_ops_ascend_paged as paged

HIDDEN, HEADS, KV_HEADS, DIM = 128, 16, 2, 128
EXPERTS, TOP_K, INNER = 16, 4, 64
BLOCK_SIZE, MAX_BLOCKS = 128, 3
EPS, SCALE, THETA = 1e-6, DIM**-0.5, 1e4
QKV = (HEADS + 2 * KV_HEADS) * DIM
FREQUENCIES = np.tile(THETA ** -(np.arange(DIM // 2) / (DIM // 2)), 2)[None].astype(np.float32)
SHAPES = {
    "norm": (HIDDEN,),
    "qkv": (QKV, HIDDEN),
    "q_norm": (DIM,),
    "k_norm": (DIM,),
    "o": (HIDDEN, HEADS * DIM),
    "norm_post": (HIDDEN,),
    "router": (EXPERTS, HIDDEN),
    "gate_up": (EXPERTS, 2 * INNER, HIDDEN),
    "down": (EXPERTS, HIDDEN, INNER),
}


def half(values, dtype):
    return Tensor(np.asarray(values, np.float32)).astype(dtype)


def wide(x):
    return x.astype(ms.float32).asnumpy()


def random_weights(num_layers, dtype, seed=0):
    """Tensors of `dtype` by name for each layer. Routers are wide, so that rounding seldom changes the choice."""
    rng = np.random.default_rng(seed)
    layers = []
    for _ in range(num_layers):
        made = {name: rng.standard_normal(shape) * shape[-1] ** -0.5 for name, shape in SHAPES.items()}
        made |= {name: 1 + 0.1 * rng.standard_normal(shape) for name, shape in SHAPES.items() if len(shape) == 1}
        made["router"] = made["router"] * 6
        layers.append({name: half(values, dtype) for name, values in made.items()})
    return layers


class RowDecoder(nn.Cell):
    """One token of each row through all layers."""

    def __init__(self, weights, num_blocks, dtype):
        super().__init__()
        self.num_layers, self.dtype = len(weights), dtype
        for name in SHAPES:
            if name not in ("gate_up", "down"):
                made = [Parameter(layer[name], name=f"{name}.{i}") for i, layer in enumerate(weights)]
                setattr(self, name, ParameterTuple(made))
        packed = [layer_ops.pack_experts(layer["gate_up"], layer["down"]) for layer in weights]
        self.gate_up = ParameterTuple([Parameter(both[0] + 0, name=f"gate_up.{i}") for i, both in enumerate(packed)])
        self.down = ParameterTuple([Parameter(both[1] + 0, name=f"down.{i}") for i, both in enumerate(packed)])
        shape = (num_blocks, BLOCK_SIZE, KV_HEADS, DIM)
        blank = np.zeros(shape, np.float32)
        self.keys = ParameterTuple([Parameter(half(blank, dtype), name=f"keys.{i}") for i in range(self.num_layers)])
        self.values = ParameterTuple(
            [Parameter(half(blank, dtype), name=f"values.{i}") for i in range(self.num_layers)]
        )
        self.frequencies = Tensor(FREQUENCIES)

    def construct(self, x, rope_positions, slots, block_tables, batch_valid_length):
        """x: (B, hidden), rope_positions: float32 (B,), slots, batch_valid_length: int32 (B,). (B, hidden)."""
        angles = rope_positions.reshape(-1, 1) * self.frequencies
        cos, sin = ops.cos(angles).astype(self.dtype), ops.sin(angles).astype(self.dtype)
        normed, residual = layer_ops.rms_norm(x, self.norm[0], EPS), x
        for i in range(self.num_layers):
            q, k, v = layer_ops.split_qkv(layer_ops.linear(normed, self.qkv[i]), HEADS, KV_HEADS)
            q, k = layer_ops.rms_norm(q, self.q_norm[i], EPS), layer_ops.rms_norm(k, self.k_norm[i], EPS)
            q, k = layer_ops.rotary(q, k, cos, sin)
            keys, values = paged.write_cache(self.keys[i], self.values[i], k, v, slots)
            attended = paged.decode_attention(q, keys, values, block_tables, batch_valid_length, SCALE)
            projected = layer_ops.linear(attended, self.o[i])
            normed, residual = layer_ops.add_rms_norm(projected, residual, self.norm_post[i], EPS)
            shares, chosen = layer_ops.route(normed, self.router[i], TOP_K, True)
            added = layer_ops.experts(normed, shares, chosen, self.gate_up[i], self.down[i])
            following = self.norm[(i + 1) % self.num_layers]  # the last layer's output takes the first one's
            normed, residual = layer_ops.add_rms_norm(added, residual, following, EPS)
        return normed


@dataclass
class Rows:
    """Places of some rows in caches: tables of shuffled blocks, and how many tokens each row has. The last row of four
    or more is padding: block 0, always one token."""

    tables: np.ndarray
    lengths: np.ndarray
    has_padding: bool

    @classmethod
    def of(cls, lengths, seed=0):
        count, has_padding = len(lengths), len(lengths) >= 4
        blocks = 1 + np.random.default_rng(seed).permutation(count * MAX_BLOCKS)
        tables = blocks.reshape(count, MAX_BLOCKS).astype(np.int32)
        lengths = np.array(lengths, np.int32)
        if has_padding:
            tables[-1], lengths[-1] = 0, 0
        return cls(tables, lengths, has_padding)

    @property
    def num_blocks(self):
        return len(self.lengths) * MAX_BLOCKS + 1

    def grow(self):
        """One token more for each row but padding; where it goes."""
        self.lengths = self.lengths + 1
        if self.has_padding:
            self.lengths[-1] = 1
        self.lengths = self.lengths.astype(np.int32)
        places = self.lengths - 1
        blocks = self.tables[np.arange(len(places)), places // BLOCK_SIZE]
        return (blocks * BLOCK_SIZE + places % BLOCK_SIZE).astype(np.int32)

    def rope_positions(self):
        """They differ from the places in the cache, as behind pictures."""
        return (self.lengths + 6).astype(np.float32)

    def inputs(self, slots):
        return tuple(map(Tensor, (self.rope_positions(), slots, self.tables, self.lengths)))


class Reference:
    """The same in float32, row by row, with a history of its own for each row."""

    def __init__(self, weights, histories):
        """histories: for each layer keys and values by row, (tokens, kv_heads, dim) each."""
        self.layers = [{name: wide(value) for name, value in layer.items()} for layer in weights]
        self.histories = histories

    def step(self, x, rope_positions):
        """x: float32 (B, hidden)."""
        angles = rope_positions[:, None, None] * FREQUENCIES
        residual = x
        for i, w in enumerate(self.layers):
            heads = (normed(residual, w["norm"]) @ w["qkv"].T).reshape(len(x), -1, DIM)
            q = rotated(normed(heads[:, :HEADS], w["q_norm"]), angles)
            k = rotated(normed(heads[:, HEADS:-KV_HEADS], w["k_norm"]), angles)
            attended = []
            for row, (keys, values) in enumerate(self.histories[i]):
                keys = np.concatenate([keys, k[row : row + 1]])
                values = np.concatenate([values, heads[row : row + 1, -KV_HEADS:]])
                self.histories[i][row] = keys, values
                attended.append(attend(q[row], keys, values))
            residual = residual + np.stack(attended) @ w["o"].T
            residual = residual + mixture(normed(residual, w["norm_post"]), w)
        return normed(residual, self.layers[0]["norm"])


def normed(x, weight):
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + EPS) * weight


def rotated(x, angles):
    first, second = np.split(x, 2, -1)
    return x * np.cos(angles) + np.concatenate([-second, first], -1) * np.sin(angles)


def softmax(x):
    shares = np.exp(x - x.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def attend(q, keys, values):
    """q: (heads, dim), keys, values: (n, kv_heads, dim). (heads * dim,)."""
    by_head = [x.repeat(len(q) // x.shape[1], 1).swapaxes(0, 1) for x in (keys, values)]
    shares = softmax(np.einsum("hd,hnd->hn", q, by_head[0]) * SCALE)
    return np.einsum("hn,hnd->hd", shares, by_head[1]).reshape(-1)


def mixture(x, w):
    """x: (B, hidden), normed."""
    chances = softmax(x @ w["router"].T)
    out = np.zeros_like(x)
    for row, all_chances in enumerate(chances):
        chosen = np.argsort(-all_chances)[:TOP_K]
        for expert in chosen:
            gate, up = np.split(w["gate_up"][expert] @ x[row], 2)
            share = all_chances[expert] / all_chances[chosen].sum()
            out[row] += share * (w["down"][expert] @ (gate / (1 + np.exp(-gate)) * up))
    return out
