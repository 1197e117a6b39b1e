"""How close the recorded decisions were: the smallest distance between the chosen and the next candidate. Needs torch.

Equal ids are only a fair demand where rounding (about 1e-6) cannot turn a decision.
"""

from __future__ import annotations

from typing import Any

import torch


class Margins:
    """Watches every greedy choice of the Thinker, Talker and code predictor, and every choice of experts."""

    def __init__(self, model: Any) -> None:
        self.smallest: dict[str, float] = {}
        self.results: dict[str, Any] = {}
        self._watch_generate("thinker", model.thinker)
        if model.has_talker:
            self._watch_generate("talker", model.talker)
            self._watch_generate("code_predictor", model.talker.code_predictor)
        for name, module in model.named_modules():
            if name.endswith("mlp.gate"):
                stage, top_k = name.split(".")[0], model.get_submodule(name.removesuffix(".gate")).top_k
                module.register_forward_hook(
                    lambda _m, _i, out, stage=stage, k=top_k: self._experts(
                        f"{stage}_experts", out.reshape(-1, out.shape[-1]), k
                    )
                )

    def reset(self) -> None:
        self.smallest.clear()
        self.results.clear()

    def _note(self, stage: str, margin: float) -> None:
        self.smallest[stage] = min(margin, self.smallest.get(stage, float("inf")))

    def _watch_generate(self, stage: str, model: Any) -> None:
        plain = model.generate

        def generate(**kwargs: Any) -> Any:
            result = plain(**{**kwargs, "return_dict_in_generate": True, "output_scores": True})
            for scores in result.scores:
                best = torch.topk(scores[0].float(), 2).values
                self._note(stage, float(best[0] - best[1]))
            self.results[stage] = result
            return result

        model.generate = generate

    def _experts(self, stage: str, logits: torch.Tensor, top_k: int) -> None:
        if top_k < logits.shape[-1]:
            ordered = torch.topk(logits.float(), top_k + 1, dim=-1).values
            self._note(stage, float((ordered[:, -2] - ordered[:, -1]).min()))
