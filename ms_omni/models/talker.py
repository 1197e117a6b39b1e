"""mindone 0.5.0's Talker, corrected: residual codes are sampled when the Talker samples."""

from __future__ import annotations

from typing import Any

from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeTalkerCodePredictorModelForConditionalGeneration,
    Qwen3OmniMoeTalkerForConditionalGeneration,
)

from ms_omni.models.thinker import HostRopeIndex
from ms_omni.stages import stage

# Ids at the end of the Talker's vocabulary that are no codes (transformers 4.57.1 `generate`)
NUM_SPECIALS = 1024
# transformers 4.57.1, `Qwen3OmniMoeTalkerForConditionalGeneration.prepare_inputs_for_generation`
CODE_PREDICTOR_SAMPLING: dict[str, Any] = {"do_sample": True, "top_k": 50, "top_p": 0.8}


class CodePredictor(Qwen3OmniMoeTalkerCodePredictorModelForConditionalGeneration):
    """Samples the 15 residual codes of a frame as transformers does, or takes the likeliest when `greedy` (mindone
    0.5.0 forces the latter, so that two cards agree)."""

    greedy = False

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """mindone's `generate`; what the Talker asks about sampling gives way to `greedy`."""
        for name in CODE_PREDICTOR_SAMPLING:
            kwargs.pop(name, None)
        with stage("code_predictor"):
            return super().generate(
                *args, **kwargs, **({"do_sample": False} if self.greedy else CODE_PREDICTOR_SAMPLING)
            )


class Talker(HostRopeIndex, Qwen3OmniMoeTalkerForConditionalGeneration):
    """Positions on the host; everything else is mindone's."""
