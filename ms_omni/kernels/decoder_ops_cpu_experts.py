"""The experts of a mixture-of-experts layer on the CPU: one token in a graph, many tokens grouped by expert.

One token in a graph: the chosen experts' weights are gathered (copied) and multiplied in two batched kernels, since the
CPU build has no view operators in graphs. In float32, decoding goes through `numpy_blocks` instead, which copies none.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.common.api import _run_in_jit

_bmm_t = ops.BatchMatMul(transpose_b=True)
_matmul_t = ops.MatMul(transpose_b=True)


def experts(x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """x: (tokens, H); weights: float32 and experts: int32 (tokens, top_k), from `route`; gate_up and down: the E
    experts' weights as `pack_experts` made them. Returns sum over the chosen experts of
    weight * swiglu(x @ gate_up.T) @ down.T, (tokens, H) of x's dtype.

    Outside a graph, many tokens are grouped by expert. Inside one, where shapes must not depend on the routing, every
    token goes through all E experts: right, but E / top_k times the work.
    Source: Qwen3OmniMoeThinkerTextSparseMoeBlock of transformers 4.57.1.
    """
    if x.shape[0] == 1:
        return _one_token(x, weights, experts, gate_up, down)
    if _run_in_jit():  # @jit.cond: True
        return _all_experts(x, weights, experts, gate_up, down)
    return _grouped(x, weights, experts, gate_up, down)


def _one_token(x: Any, weights: Any, experts: Any, gate_up: Any, down: Any) -> Any:
    top_k, half = experts.shape[1], gate_up.shape[1] // 2
    inputs = ops.broadcast_to(x.reshape(1, 1, -1), (top_k, 1, x.shape[1]))
    gate, up = ops.split(_bmm_t(inputs, ops.gather(gate_up, experts[0], 0)), half, -1)
    hidden = ops.silu(gate) * up * weights.reshape(top_k, 1, 1).astype(x.dtype)
    return _bmm_t(hidden, ops.gather(down, experts[0], 0)).sum(0)


def _all_experts(x: Any, weights: Any, experts: Any, gate_up: Any, down: Any) -> Any:
    num_tokens, size = x.shape
    num_experts, half = gate_up.shape[0], gate_up.shape[1] // 2
    none = ops.zeros((num_tokens, num_experts), ms.float32)
    shares = ops.tensor_scatter_elements(none, experts, weights, 1).reshape(num_tokens, num_experts, 1)
    both = _matmul_t(x, gate_up.reshape(num_experts * 2 * half, size)).reshape(num_tokens, num_experts, 2 * half)
    gate, up = ops.split(both, half, -1)
    hidden = ops.silu(gate) * up * shares.astype(x.dtype)
    return _bmm_t(hidden.transpose(1, 0, 2), down).sum(0)


def _grouped(x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """In numpy, which reads the weights where they lie: a MindSpore call costs as much as a small expert."""
    inputs, shares, chosen = x.asnumpy(), weights.asnumpy(), experts.asnumpy()
    first, second = gate_up.asnumpy(), down.asnumpy()
    top_k, half = chosen.shape[1], first.shape[1] // 2
    order = np.argsort(chosen, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(chosen.reshape(-1), minlength=first.shape[0]))
    out = np.zeros(inputs.shape, np.float32)
    for expert in np.unique(chosen):
        places = order[ends[expert - 1] if expert else 0 : ends[expert]]
        places = places[shares.reshape(-1)[places] != 0]  # another rank's experts
        tokens = places // top_k
        both = inputs[tokens] @ first[expert].T
        hidden = silu(both[:, :half]) * both[:, half:] * shares.reshape(-1, 1)[places]
        out[tokens] += hidden @ second[expert].T  # a token chooses an expert at most once: no index twice
    return Tensor.from_numpy(out.astype(inputs.dtype, copy=False))


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x)), of x's shape."""
    return x / (1.0 + np.exp(-np.maximum(x, -80.0)))  # below -80 silu is 0 to float32, and exp would overflow
