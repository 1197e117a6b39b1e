"""Stand-ins in numpy for the fused Ascend operators, after their documentation."""

import numpy as np
from mindspore import Tensor, mint

from ms_omni.kernels import decoder_ops_ascend_primitives as primitives


class StandIns:
    """Replaces what MindSpore's CPU build lacks."""

    def __init__(self, monkeypatch):
        for name, function in (
            ("split", lambda x, sizes: np.split(x, np.cumsum(sizes)[:-1], -1)),
            ("rotary_position_embedding", rotary),
            ("swiglu", swiglu),
            ("causal_attention", causal_attention),
            ("moe_gating_top_k_softmax", gating),
            ("moe_init_routing", init_routing),
            ("grouped_matmul", grouped_matmul),
            ("moe_token_unpermute", unpermute),
            ("dynamic_quant", dynamic_quant),
            ("weight_quant_matmul", lambda x, weight, scale: x @ (weight * scale[:, None]).T),
            ("quant_matmul", quant_matmul),
            ("grouped_weight_quant_matmul", lambda x, w, scale, counts: grouped_matmul(x, w * scale[:, None], counts)),
            ("grouped_quant_matmul", grouped_quant_matmul),
        ):
            monkeypatch.setattr(primitives, name, self.on_arrays(function))
        # MindSpore's CPU build multiplies tensors alone
        monkeypatch.setattr(mint, "mul", self.on_arrays(lambda x, by: x * np.float32(by)))

    def on_arrays(self, function):
        def call(*arguments):
            arrays = [value.asnumpy() if isinstance(value, Tensor) else value for value in arguments]
            result = function(*arrays)
            if isinstance(result, tuple | list):
                return tuple(Tensor(np.ascontiguousarray(part)) for part in result)
            return Tensor(np.ascontiguousarray(result))

        return call


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotary(x, cos, sin):
    """Mode 0. x: (1, tokens, heads, dim); cos, sin: (1, tokens, 1, dim)."""
    first, second = np.split(x, 2, -1)
    return x * cos + np.concatenate([-second, first], -1) * sin


def swiglu(x):
    gate, up = np.split(x, 2, -1)
    return gate / (1 + np.exp(-gate)) * up


def attention(q, keys, values, hidden, heads, kv_heads, scale):
    """BNSD: (1, heads, n, dim) and (1, kv_heads, N, dim); hidden: (1, 1, n, N), True is left out."""
    keys, values = (np.repeat(x, heads // kv_heads, 1) for x in (keys, values))
    scores = np.where(hidden, -np.inf, q @ keys.swapaxes(-1, -2) * scale)
    return (softmax(scores) @ values).astype(q.dtype)


def causal_attention(q, k, v, heads, kv_heads, scale):
    """BSH; sparse mode 3: the last query sees up to the last key, each one before it one key fewer."""
    q, k, v = (x.reshape(1, x.shape[1], n, -1).swapaxes(1, 2) for x, n in ((q, heads), (k, kv_heads), (v, kv_heads)))
    queries, keys = q.shape[2], k.shape[2]
    later = np.arange(keys) > np.arange(keys - queries, keys)[:, None]
    return attention(q, k, v, later, heads, kv_heads, scale).swapaxes(1, 2).reshape(1, queries, -1)


def gating(logits, top_k):
    probabilities = softmax(logits)
    experts = np.argsort(-probabilities, -1, kind="stable")[:, :top_k]
    return np.take_along_axis(probabilities, experts, -1), experts.astype(np.int32)


def init_routing(x, experts, num_experts):
    order = np.argsort(experts.reshape(-1), kind="stable")
    places = np.empty(order.size, np.int32)
    places[order] = np.arange(order.size)
    counts = np.bincount(experts.reshape(-1), minlength=num_experts)
    return x[order // experts.shape[1]], places, counts.astype(np.int32)


def grouped_matmul(x, weight, counts):
    assert counts.dtype == np.int64
    expert_of_row = np.repeat(np.arange(len(weight)), counts)
    return np.einsum("mk,mkn->mn", x, weight[expert_of_row])


def unpermute(rows, places, weights):
    return (rows[places].reshape(*weights.shape, -1) * weights[..., None]).sum(1).astype(rows.dtype)


def dynamic_quant(x):
    scale = np.abs(x).max(-1) / np.float32(127)
    return np.rint(x / scale[:, None]).astype(np.int8), scale


def quant_matmul(x, token_scale, weight, scale, dtype):
    return (x.astype(np.int32) @ weight.astype(np.int32).T * scale * token_scale[:, None]).astype(np.float32)


def grouped_quant_matmul(x, token_scale, weight, scale, counts, dtype):
    sums = grouped_matmul(x.astype(np.float32), weight.astype(np.float32), counts)
    return sums * np.repeat(scale, counts, 0) * token_scale[:, None]
