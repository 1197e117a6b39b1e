"""Tokens of the answer as the Talker reads them: looked up in the Thinker's table and projected, in a frame's graph."""

from __future__ import annotations

from typing import Any

from mindspore import Tensor, mint, nn

from ms_omni.parallel.vocabulary import logits, lookup
from ms_omni.parallel.world import World


class TextProjection(nn.Cell):
    """Traced into the graphs of whoever calls it. Where ranks have a part of the weights each, they gather what these
    make, which is less than the weights."""

    def __init__(self, model: Any, world: World) -> None:
        """model: a corrected Qwen3-Omni. `Qwen3OmniMoeTalkerResizeMLP` of transformers 4.57.1."""
        super().__init__(auto_prefix=False)
        talker, thinker = model.config.talker_config, model.config.thinker_config
        # By name: asked for as attributes of their cells, weights that are spread would be gathered
        weights = dict(model.talker.text_projection.parameters_and_names())
        self.wide, self.wide_bias = weights["linear_fc1.weight"], weights["linear_fc1.bias"]
        self.narrow, self.narrow_bias = weights["linear_fc2.weight"], weights["linear_fc2.bias"]
        self.embed = model.thinker.model.embed_tokens.weight
        self.world, self.num_words = world, thinker.text_config.vocab_size
        self.inner, self.hidden = talker.text_config.intermediate_size, talker.text_config.hidden_size

    def construct(self, ids: Tensor) -> Tensor:
        """ids: int32 (rows,), of the Thinker's vocabulary. (rows, talker_hidden)."""
        x = lookup(self.embed, ids, self.world, self.num_words)
        x = logits(x, self.wide, self.world, self.inner) + self.wide_bias
        return logits(x * mint.sigmoid(x), self.narrow, self.world, self.hidden) + self.narrow_bias
