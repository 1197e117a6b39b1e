"""The transformers side of decode.py and many_conversations.py, run by a Python with torch: answers JSON lines on stdin
with JSON lines.

    python transformers_side.py DIRECTORY

First line in: {"prompt_ids": [...]}; out: versions. Then {"stage": "thinker" | "talker", "count": N}; out: the events
of one answer, [stage, made, seconds], and its ids or codes. Or {"prompts": [[...], ...], "count": N}; out: the ids of
a batch in text, padded on the left, and the seconds at which each of its steps was done. Attention is transformers'
default (sdpa); decoding is greedy, the code predictor's too. Torch may use all cores.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "ms_omni" / "profiling" / "transformers_reference"))
import torch
import torch_patches

torch_patches.allow_torchvision_without_its_extension()
import transformers  # noqa: E402
from transformers import Qwen3OmniMoeForConditionalGeneration  # noqa: E402
from transformers.generation import BaseStreamer  # noqa: E402

NO_EOS = 2**31 - 1


class Clock(BaseStreamer):
    """What `generate` hands every new token to; the first call brings the prompt."""

    def __init__(self, stage: str, events: list[Any]):
        self._stage, self._events, self._made = stage, events, -1

    def put(self, value: Any) -> None:
        self._made += 1
        if self._made:
            self._events.append([self._stage, self._made, time.perf_counter()])

    def end(self) -> None:
        """Nothing is held back."""


class Side:
    """One loaded model."""

    def __init__(self, directory: str, prompt_ids: list[int]):
        self.model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()
        torch_patches.greedy_code_predictor(self.model)
        self.model.code2wav.chunked_decode = self._keep_codes
        self.prompt = torch.tensor([prompt_ids])
        self._codes: list[list[int]] = []

    def _keep_codes(self, codes: Any, **_: Any) -> Any:
        """No wave: only decoding is measured."""
        self._codes = codes[0].T.tolist()
        return torch.zeros(1)

    @torch.inference_mode()
    def run(self, stage: str, count: int) -> dict[str, Any]:
        events: list[Any] = []
        speak = stage == "talker"
        options: dict[str, Any] = {"thinker_streamer": Clock("thinker", events)}
        if speak:
            self.model.config.talker_config.codec_eos_token_id = NO_EOS
            options |= {"talker_streamer": Clock("talker", events), "talker_do_sample": False}
            options |= {"talker_max_new_tokens": count + 1}
        result, _ = self.model.generate(
            input_ids=self.prompt,
            attention_mask=torch.ones_like(self.prompt),
            return_audio=speak,
            thinker_max_new_tokens=8 if speak else count,
            thinker_eos_token_id=NO_EOS,
            thinker_do_sample=False,
            **options,
        )
        made = self._codes if speak else result[0, self.prompt.shape[1] :].tolist()
        return {"events": events, "made": made}

    @torch.inference_mode()
    def batch(self, prompts: list[list[int]], count: int) -> dict[str, Any]:
        length = max(map(len, prompts))
        pads = [length - len(prompt) for prompt in prompts]
        ids = torch.tensor([[0] * pad + prompt for pad, prompt in zip(pads, prompts, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * len(prompt) for pad, prompt in zip(pads, prompts, strict=True)])
        events: list[Any] = []
        result, _ = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            return_audio=False,
            thinker_max_new_tokens=count,
            thinker_eos_token_id=NO_EOS,
            thinker_do_sample=False,
            thinker_streamer=Clock("thinker", events),
        )
        return {"seconds": [seconds for *_, seconds in events], "made": result[:, length:].tolist()}


def main(directory: str) -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    side = Side(directory, json.loads(sys.stdin.readline())["prompt_ids"])
    about = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        made = side.batch(**asked) if "prompts" in asked else side.run(**asked)
        print(json.dumps(made), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
