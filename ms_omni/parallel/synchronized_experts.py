"""mindone 0.5.0's expert layers for ranks that gather experts' weights at use: all ranks visit the same experts.

mindone's own block visits the experts that its tokens chose, and each visit is a collective. If rounding made one rank
choose another expert, or if ranks had different tokens, they would wait for each other forever. So the group first
agrees on which experts anybody chose.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeTalkerTextSparseMoeBlock,
    Qwen3OmniMoeThinkerTextSparseMoeBlock,
)
from mindspore import Tensor, mint, ops

from ms_omni.parallel.collectives import all_reduce
from ms_omni.parallel.gathered import replace_construct
from ms_omni.parallel.world import World


def synchronize_experts(cell: Any, world: World) -> None:
    """Replaces the computation of one of mindone's expert layers; other cells stay as they are."""
    if not isinstance(cell, (Qwen3OmniMoeThinkerTextSparseMoeBlock, Qwen3OmniMoeTalkerTextSparseMoeBlock)):
        return

    def construct(block: Any, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """hidden_states: (batch, seq, hidden). The same shape, and the router's logits (tokens, experts)."""
        x = hidden_states.reshape(-1, hidden_states.shape[-1])
        out, router_logits = _mixture(block, x, world)
        if isinstance(block, Qwen3OmniMoeTalkerTextSparseMoeBlock):
            out = out + mint.sigmoid(block.shared_expert_gate(x)) * block.shared_expert(x)
        return out.reshape(hidden_states.shape), router_logits

    replace_construct(cell, construct)


def _mixture(block: Any, x: Tensor, world: World) -> tuple[Tensor, Tensor]:
    """x: (tokens, hidden). The weighted sum of the chosen experts' outputs, of the same shape, and the router's
    logits."""
    router_logits = block.gate(x)
    weights, chosen = mint.topk(mint.nn.functional.softmax(router_logits, dim=1, dtype=ms.float32), block.top_k)
    if block.norm_topk_prob:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    weights, choices = weights.to(x.dtype), chosen.asnumpy()
    out = mint.zeros(x.shape, dtype=x.dtype)
    for expert in _chosen_by_any_rank(choices, block.num_experts, world):
        tokens, places = np.nonzero(choices == expert)
        if len(tokens) == 0:
            block.experts[expert](x[:1])  # only to take part in the collectives
            continue
        rows = Tensor(tokens.astype(np.int32))
        slots = Tensor((tokens * block.top_k + places).astype(np.int32))
        share = ops.gather(weights.reshape(-1), slots, 0).unsqueeze(-1)
        out.index_add_(0, rows, block.experts[expert](ops.gather(x, rows, 0)) * share)
    return out, router_logits


def _chosen_by_any_rank(choices: np.ndarray, num_experts: int, world: World) -> list[int]:
    mine = np.bincount(choices.reshape(-1), minlength=num_experts).astype(np.float32)
    return np.flatnonzero(all_reduce(Tensor(mine), world).asnumpy()).tolist()
