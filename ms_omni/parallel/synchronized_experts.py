"""mindone 0.5.0's expert layers for ranks that gather experts' weights at use: all ranks visit the same experts."""

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
from ms_omni.parallel.world import World


class SynchronizedExperts:
    """mindone's block, but for the experts it visits: it visits those that its own tokens chose, each a collective. If
    rounding made one rank choose another expert, or ranks had different tokens, they would wait for each other for
    ever. So the group first says which experts anybody chose."""

    shared_world: World
    gate: Any
    experts: Any
    num_experts: int
    top_k: int

    def mixture(self, x: Tensor, normalize: bool) -> tuple[Tensor, Tensor]:
        """x: (tokens, hidden). What the experts add, of the same shape, and the router's logits."""
        router_logits = self.gate(x)
        weights, chosen = mint.topk(mint.nn.functional.softmax(router_logits, dim=1, dtype=ms.float32), self.top_k)
        if normalize:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        weights, choices = weights.to(x.dtype), chosen.asnumpy()
        out = mint.zeros(x.shape, dtype=x.dtype)
        for expert in self._chosen_by_anybody(choices):
            tokens, places = np.nonzero(choices == expert)
            if len(tokens) == 0:
                self.experts[expert](x[:1])
                continue
            rows = Tensor(tokens.astype(np.int32))
            slots = Tensor((tokens * self.top_k + places).astype(np.int32))
            share = ops.gather(weights.reshape(-1), slots, 0).unsqueeze(-1)
            out.index_add_(0, rows, self.experts[expert](ops.gather(x, rows, 0)) * share)
        return out, router_logits

    def _chosen_by_anybody(self, choices: np.ndarray) -> list[int]:
        mine = np.bincount(choices.reshape(-1), minlength=self.num_experts).astype(np.float32)
        return np.flatnonzero(all_reduce(Tensor(mine), self.shared_world).asnumpy()).tolist()


class SynchronizedThinkerExperts(SynchronizedExperts, Qwen3OmniMoeThinkerTextSparseMoeBlock):
    def construct(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """hidden_states: (batch, seq, hidden)."""
        out, router_logits = self.mixture(hidden_states.reshape(-1, hidden_states.shape[-1]), self.norm_topk_prob)
        return out.reshape(hidden_states.shape), router_logits


class SynchronizedTalkerExperts(SynchronizedExperts, Qwen3OmniMoeTalkerTextSparseMoeBlock):
    def construct(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """hidden_states: (batch, seq, hidden)."""
        x = hidden_states.reshape(-1, hidden_states.shape[-1])
        out, router_logits = self.mixture(x, self.norm_topk_prob)
        out = out + mint.sigmoid(self.shared_expert_gate(x)) * self.shared_expert(x)
        return out.reshape(hidden_states.shape), router_logits


AGREED = {
    Qwen3OmniMoeThinkerTextSparseMoeBlock: SynchronizedThinkerExperts,
    Qwen3OmniMoeTalkerTextSparseMoeBlock: SynchronizedTalkerExperts,
}


def synchronize_experts(cell: Any, world: World) -> None:
    """Replaces what an expert layer of mindone does; other cells stay as they are."""
    if type(cell) in AGREED:
        cell.shared_world = world
        object.__setattr__(cell, "__class__", AGREED[type(cell)])
