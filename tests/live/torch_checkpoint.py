"""Run in the virtual environment with torch: writes a checkpoint as transformers' own save_pretrained writes it.

    python torch_checkpoint.py BASE TARGET SEED

BASE gives tokenizer and processor files and a configuration, whose sizes are changed; weights are drawn by torch.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "ms_omni" / "profiling" / "transformers_reference"))
import torch_patches

torch_patches.allow_torchvision_without_its_extension()
from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration  # noqa: E402


def resized(config: Qwen3OmniMoeConfig) -> Qwen3OmniMoeConfig:
    """Sizes and options that no other checkpoint of the tests has."""
    text, talker = config.thinker_config.text_config, config.talker_config
    text.num_hidden_layers, text.num_experts, text.num_experts_per_tok = 5, 6, 3
    text.norm_topk_prob = False
    config.thinker_config.audio_config.encoder_layers = 3
    config.thinker_config.vision_config.depth = 5
    config.thinker_config.vision_config.deepstack_visual_indexes = [1, 3, 4]
    talker.accept_hidden_layer = 4
    talker.text_config.num_hidden_layers = 3
    talker.text_config.shared_expert_intermediate_size = 40
    talker.code_predictor_config.num_hidden_layers = 3
    talker.code_predictor_config.layer_types = ["full_attention"] * 3
    config.code2wav_config.num_hidden_layers = 3
    return config


@torch.no_grad()
def draw(model: Any, generator: torch.Generator) -> None:
    """Weights loud enough that answers vary; Code2Wav's small enough that its wave does not saturate."""
    for name, weight in model.named_parameters():
        values = torch.randn(weight.shape, generator=generator)
        if name.endswith("scale") or name.endswith("gamma"):
            weight.copy_(0.3 + 0.05 * values)
        elif name.endswith(("alpha", "beta")):
            weight.copy_(0.1 * values)
        elif weight.ndim < 2:
            weight.copy_(0.05 * values + (1.0 if "norm" in name or "ln_" in name else 0.0) * name.endswith("weight"))
        elif "embed" in name and "patch" not in name:
            weight.copy_((0.3 if name.startswith("code2wav") else 0.5) * values)
        else:
            gain = 0.7 if name.startswith("code2wav") else 3.0 if "head" in name else 1.0
            weight.copy_(gain * values / (weight.numel() / weight.shape[0]) ** 0.5)


def main(base: str, target: str, seed: str) -> None:
    model = Qwen3OmniMoeForConditionalGeneration(resized(Qwen3OmniMoeConfig.from_pretrained(base)))
    draw(model, torch.Generator().manual_seed(int(seed)))
    model.save_pretrained(target, max_shard_size="3MB")
    for file in Path(base).iterdir():
        if not (Path(target) / file.name).exists() and "safetensors" not in file.name:
            shutil.copy(file, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
