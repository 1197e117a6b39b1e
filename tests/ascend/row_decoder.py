"""The product's step of a decoder over rows with paged caches, on random weights; and the same in plain float32. Sizes
in small, but the released heads: 8 of q to one of k and v, of size 128."""

from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ms_omni.kernels import decoder_ops_ascend as layer_ops
from ms_omni.kernels import decoder_ops_ascend_paged as paged  # noqa: F401  for those who import this module
from ms_omni.limits import BLOCK_SIZE  # noqa: F401  for those who import this module
from ms_omni.runtime.decoder import Decoder
from ms_omni.runtime.decoder_spec import DecoderSpec
from ms_omni.runtime.token_step import TokenStep

HIDDEN, HEADS, KV_HEADS, DIM = 128, 16, 2, 128
EXPERTS, TOP_K, INNER = 16, 4, 64
MAX_BLOCKS = 3
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


class Checkpoint:
    """Reads like a CheckpointReader what `random_weights` made. The norm behind the last layer is the first one's."""

    def __init__(self, layers):
        self.layers = [{name: wide(value) for name, value in layer.items()} for layer in layers]

    def read(self, name):
        if name == "norm.weight":
            return self.layers[0]["norm"]
        _, index, *words = name.removesuffix(".weight").split(".")
        layer, last = self.layers[int(index)], words[-1]
        if "experts" in words:
            matrices = layer["down" if last == "down_proj" else "gate_up"][int(words[2])]
            return {"gate_proj": matrices[:INNER], "up_proj": matrices[INNER:], "down_proj": matrices}[last]
        q, k, v = np.split(layer["qkv"], (HEADS * DIM, (HEADS + KV_HEADS) * DIM))
        renamed = {"q_proj": q, "k_proj": k, "v_proj": v, "o_proj": layer["o"], "gate": layer["router"]}
        renamed |= {"input_layernorm": layer["norm"], "post_attention_layernorm": layer["norm_post"]}
        return renamed[last] if last in renamed else layer[last]

    def shape(self, name):
        return self.read(name).shape

    def dtype(self, name):
        return self.read(name).dtype

    def release(self, name):
        """Nothing is held."""


class RowDecoder(nn.Cell):
    """One token of each row through all layers."""

    def __init__(self, weights, num_blocks, dtype, num_rows):
        super().__init__()
        spec = DecoderSpec(
            HIDDEN, len(weights), HEADS, KV_HEADS, DIM, EPS, THETA, num_experts=EXPERTS, experts_per_token=TOP_K,
            normalize_experts=True,
        )  # fmt: skip
        decoder = Decoder(Checkpoint(weights), "", spec, layer_ops, dtype)
        cache = decoder.new_cache(num_blocks, "rows")
        self.step, self.dtype = TokenStep(decoder, cache, "rows", num_rows, MAX_BLOCKS), dtype
        self.keys, self.values = cache.keys, cache.values

    def construct(self, x, rope_positions, block_tables, batch_valid_length):
        """x: (B, hidden), the others: of `Rows.grow`. (B, hidden)."""
        return self.step.decode(x, rope_positions, batch_valid_length, block_tables)


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
        """One token more for each row but padding. The step's inputs beside the hidden states."""
        self.lengths = (self.lengths + 1).astype(np.int32)
        if self.has_padding:
            self.lengths[-1] = 1
        return tuple(map(Tensor, (self.rope_positions(), self.tables, self.lengths)))

    def rope_positions(self):
        """They differ from the places in the cache, as behind pictures."""
        return (self.lengths + 6).astype(np.float32)


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
