"""Mixture of experts on Ascend: routing, and the experts, with float or 8-bit weights. Never run on a card."""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
from mindspore import Tensor, mint, ops

from ms_omni.kernels import decoder_ops_ascend_primitives as primitives


def pack_experts(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """gate_up: (E, 2I, H), down: (E, H, I). Returns (E, H, 2I) and (E, I, H), views outside graphs: GroupedMatmulV4
    cannot transpose."""
    return ops.transpose(gate_up, (0, 2, 1)), ops.transpose(down, (0, 2, 1))


def route(x: Tensor, router_weight: Tensor, top_k: int, normalize: bool) -> tuple[Tensor, Tensor]:
    """x: (tokens, H), router_weight: (E, H). float32 weights and int32 experts, (tokens, top_k)."""
    logits = primitives.cast(primitives.linear(x, router_weight), ms.float32)
    weights, experts = primitives.moe_gating_top_k_softmax(logits, top_k)
    if normalize:
        weights = ops.div(weights, mint.sum(weights, -1, True))
    return weights, experts


def experts(x: Tensor, weights: Tensor, experts: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """x: (tokens, H), weights: float32, experts: int32 (tokens, top_k), gate_up and down of pack_experts. (tokens, H).

    Raises ValueError for experts' weights that are not packed.
    """
    check_packed("experts", x, gate_up, down)

    def network(rows: Tensor, counts: Tensor) -> Tensor:
        hidden = primitives.swiglu(primitives.grouped_matmul(rows, gate_up, counts))
        return primitives.grouped_matmul(hidden, down, counts)

    return through_experts(network, x, weights, experts, gate_up.shape[0])


def check_packed(name: str, x: Tensor, gate_up: Tensor, down: Tensor) -> None:
    """x: (tokens, H). Raises ValueError that begins with `name` unless gate_up and down come from pack_experts."""
    size, inner = x.shape[1], down.shape[1]
    if gate_up.shape[1:] != (size, 2 * inner) or down.shape[2] != size:
        raise ValueError(f"{name}: gate_up and down must come from pack_experts: (E, H, 2I) and (E, I, H)")


def through_experts(
    network: Callable[[Tensor, Tensor], Tensor], x: Tensor, weights: Tensor, experts: Tensor, count: int
) -> Tensor:
    """Sorts the tokens by expert, applies `network`, and returns each token's weighted sum, (tokens, H). network(rows,
    counts): rows (n, H) in the order of `count` experts; counts: int64 (count,), rows of each. (n, H)."""
    rows, places, counts = primitives.moe_init_routing(x, experts, count)
    rows = network(rows, primitives.cast(counts, ms.int64))
    return primitives.moe_token_unpermute(rows, places, primitives.cast(weights, x.dtype))
