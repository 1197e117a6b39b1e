"""A decoder layer of random weights for the numpy kernels, and what it does, written out token by token."""

from types import SimpleNamespace

import numpy as np

from ms_omni.checkpoint.int8 import rounded, row_scales

HIDDEN, HEADS, KV_HEADS, DIM, INNER, EXPERTS, TOP_K = 24, 4, 2, 8, 12, 8, 3
BLOCK, EPS, THETA = 4, 1e-6, 1e4
INV_FREQ = (THETA ** (-np.arange(0, DIM, 2) / DIM)).astype(np.float32)


INT8 = ("qkv", "o", "gate_up", "down", "dense_gate_up", "dense_down")


class Weight:
    """What a Parameter is to the kernels."""

    def __init__(self, values):
        self.values = np.ascontiguousarray(values)

    def asnumpy(self):
        return self.values


class RandomLayer:
    """kind: dense, experts, shared. weights: by name, (out, in). quantize: none, int8, int8-dynamic; the weights are
    those that the rounded ones stand for."""

    def __init__(self, kind, has_bias=False, normalize=True, seed=0, quantize="none"):
        rng = np.random.default_rng(seed)

        def random(*shape):
            return (rng.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)

        width = (HEADS + 2 * KV_HEADS) * DIM
        self.kind, self.has_bias, self.normalize = kind, has_bias, normalize
        self.weights = {"qkv": random(width, HIDDEN), "o": random(HIDDEN, HEADS * DIM)}
        self.vectors = {"norm": 1 + random(HIDDEN), "norm_post": 1 + random(HIDDEN)}
        self.vectors |= {"q_norm": 1 + random(DIM), "k_norm": 1 + random(DIM)}
        if has_bias:
            self.vectors |= {"qkv_bias": random(width), "o_bias": random(HIDDEN)}
        if kind != "dense":
            self.weights |= {"router": 3 * random(EXPERTS, HIDDEN)}
            self.weights |= {"gate_up": random(EXPERTS, 2 * INNER, HIDDEN), "down": random(EXPERTS, HIDDEN, INNER)}
        if kind != "experts":
            self.weights |= {"dense_gate_up": random(2 * INNER, HIDDEN), "dense_down": random(HIDDEN, INNER)}
        if kind == "shared":
            self.weights["shared_gate"] = random(1, HIDDEN)
        self.rounds_rows, self.int8 = quantize == "int8-dynamic", {}
        for name in () if quantize == "none" else set(INT8) & set(self.weights):
            values = self.weights[name]
            rows = values.reshape(-1, values.shape[-1])
            scales = row_scales(rows, name)
            self.int8[name] = rounded(rows, scales).reshape(values.shape)
            self.int8[f"{name}_scale"] = scales.reshape(values.shape[:-1])
            self.weights[name] = self.int8[name] * self.int8[f"{name}_scale"][..., None]

    def stored(self, experts=range(EXPERTS), adds_bias=True, adds_shared=True):
        """As a rank with these experts has it: matrices (in, out)."""
        weights = {name: values.swapaxes(-1, -2) for name, values in self.weights.items()} | self.int8
        for name in set(weights) & {"gate_up", "down", "gate_up_scale", "down_scale"}:
            weights[name] = weights[name][experts.start : experts.stop]
        return SimpleNamespace(
            spec=SimpleNamespace(num_heads=HEADS, num_kv_heads=KV_HEADS, head_dim=DIM, has_bias=self.has_bias),
            eps=EPS,
            scale=DIM**-0.5,
            is_gathered=False,
            rounds_rows=self.rounds_rows,
            has_experts=self.kind != "dense",
            adds_bias=self.has_bias and adds_bias,
            adds_shared=self.kind == "shared" and adds_shared,
            top_k=TOP_K,
            normalize=self.normalize,
            first_expert=experts.start,
            sums_attention=False,
            sums_feed_forward=len(experts) < EXPERTS,
            **{name: Weight(values) for name, values in (weights | self.vectors).items()},
        )

    def attention(self, x, position, history):
        """x: (hidden,), normed; history: keys and values of the tokens before, to which this one's are appended. Rotary
        position and place in the sequence are the same."""
        heads = (self.weights["qkv"] @ self.entering(x) + self.vectors.get("qkv_bias", 0)).reshape(-1, DIM)
        angles = np.tile(position * INV_FREQ, 2)
        q = rotated(norm(heads[:HEADS], self.vectors["q_norm"]), angles)
        history.append((rotated(norm(heads[HEADS:-KV_HEADS], self.vectors["k_norm"]), angles), heads[-KV_HEADS:]))
        keys, values = (np.array(part) for part in zip(*history, strict=True))
        out = []
        for head, query in enumerate(q):
            kv = head // (HEADS // KV_HEADS)
            shares = softmax(keys[:, kv] @ query * DIM**-0.5)
            out.append(shares @ values[:, kv])
        return self.weights["o"] @ self.entering(np.concatenate(out)) + self.vectors.get("o_bias", 0)

    def feed_forward(self, x, experts=range(EXPERTS)):
        """x: (hidden,), normed. What these experts and the shared one add."""
        w = self.weights
        if self.kind == "dense":
            return self.network(x, w["dense_gate_up"], w["dense_down"])
        chances = softmax(w["router"] @ x)
        chosen = np.argsort(-chances)[:TOP_K]
        total = chances[chosen].sum() if self.normalize else 1
        out = np.zeros(HIDDEN)
        for expert in set(chosen.tolist()) & set(experts):
            out += chances[expert] / total * self.network(x, w["gate_up"][expert], w["down"][expert])
        if self.kind == "shared":
            share = 1 / (1 + np.exp(-(w["shared_gate"] @ x)))
            out += share * self.network(x, w["dense_gate_up"], w["dense_down"])
        return out

    def network(self, x, gate_up, down):
        gate, up = np.split(gate_up @ self.entering(x), 2)
        return down @ self.entering(gate / (1 + np.exp(-gate)) * up)

    def entering(self, x):
        """x: (in,). As it is multiplied by a weight that may be int8."""
        scale = np.abs(x).max() / 127
        return np.rint(x / scale) * scale if self.rounds_rows else x

    def __call__(self, x, position, history):
        """A token through the layer."""
        x = x + self.attention(norm(x, self.vectors["norm"]), position, history)
        return x + self.feed_forward(norm(x, self.vectors["norm_post"]))


def norm(x, weight):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPS) * weight


def rotated(x, angles):
    first, second = np.split(x, 2, -1)
    return x * np.cos(angles) + np.concatenate([-second, first], -1) * np.sin(angles)


def softmax(x):
    shares = np.exp(x - x.max())
    return shares / shares.sum()
