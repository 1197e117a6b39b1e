"""How many operators, collectives and synchronisations mindone's own generate takes, counted in the source of its 0.5.0
release. (Those of the fused engine: counted.py.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EagerCounts:
    """What mindone launches from Python for one token or frame. gathers: one for each Linear that is used, with
    prepare_network's ZeRO-3. syncs: places where the host waits for a value."""

    launches: int
    gathers: int
    syncs: int


# RMSNorm: two casts, pow, mean, add, rsqrt, two products. Views are not counted.
_NORM = 8
# Two layer norms, q and k norm, four projections, rotary (q and k: two products, negation, concatenation, sum), two
# cache updates, flash attention with its transposed copies, two residual sums.
_ATTENTION = 4 * _NORM + 4 + 10 + 2 + 5 + 2
_MLP = 5
# Router, softmax with a cast, topk, sum, division, cast, zeros, one_hot, sum, greater, nonzero.
_ROUTING = 12
# An expert: item, mask row, where, rows in, three projections, silu and product, its weights, a product, index_add.
_EXPERT = 12
_SYNCS_PER_EXPERT = 1


def eager_thinker(text: Any) -> EagerCounts:
    """One token. text: the Thinker's text_config. 1,393 gathers on the released model."""
    layers, top_k = text.num_hidden_layers, text.num_experts_per_tok
    return EagerCounts(
        launches=layers * (_ATTENTION + _ROUTING + top_k * _EXPERT) + _NORM + 50,
        gathers=layers * (4 + 1 + 3 * top_k) + 1,
        syncs=layers * top_k * _SYNCS_PER_EXPERT,
    )


def eager_talker(talker: Any) -> EagerCounts:
    """One frame: a step of the Talker and 15 of the code predictor, whose generate() is called anew for each frame."""
    text, predictor = talker.text_config, talker.code_predictor_config
    layers, top_k, steps = text.num_hidden_layers, text.num_experts_per_tok, talker.num_code_groups - 1
    shared = _MLP + 4
    step = predictor.num_hidden_layers * (_ATTENTION + _MLP) + _NORM + 50
    return EagerCounts(
        launches=layers * (_ATTENTION + _ROUTING + top_k * _EXPERT + shared) + _NORM + 50 + steps * step,
        gathers=layers * (4 + 1 + 3 * top_k + 4) + 1 + steps * (7 * predictor.num_hidden_layers + 1),
        syncs=layers * top_k * _SYNCS_PER_EXPERT + steps,
    )
