"""The checkpoints of the reference set, rebuilt from sizes and seeds with numpy alone: no weights are committed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.checkpoint.presets import PRESETS, Preset, build_config
from ms_omni.checkpoint.tiny import draw, write_tiny
from ms_omni.checkpoint.tiny_tokenizer import token_ids, vocab_length
from ms_omni.checkpoint.weight_specs import weight_specs


@dataclass(frozen=True)
class CheckpointSpec:
    """What `write_tiny` writes for `seed` and `variant`; with `preset`, the sizes of that; with `edits` (dotted key of
    config.json -> value), those values. `say_instead` (weight, row, other row): the row wins where the other would."""

    seed: int
    variant: str = "instruct"
    preset: Preset = PRESETS["tiny"]
    edits: dict[str, Any] = field(default_factory=dict)
    say_instead: tuple[tuple[str, int, int], ...] = ()


WIDE = replace(
    PRESETS["tiny"],
    hidden_size=96, num_layers=3, num_heads=6, num_kv_heads=2, head_dim=16, mrope_section=(4, 2, 2),
    num_experts=16, experts_per_tok=4, moe_intermediate=24, accept_hidden_layer=2,
    audio_width=48, audio_layers=3, audio_channels=8,
    vision_width=96, vision_layers=3, vision_heads=3, vision_positions=16 * 16, deepstack_layers=(1,),
    talker_hidden=48, talker_layers=3, talker_heads=3, talker_kv_heads=1, talker_experts=6, talker_experts_per_tok=3,
    talker_moe_intermediate=20, predictor_layers=3, predictor_intermediate=80,
    code2wav_hidden=24, code2wav_layers=3, code2wav_heads=3, decoder_dim=48,
)  # fmt: skip

DEEP = replace(
    PRESETS["tiny"],
    hidden_size=48, num_layers=6, num_heads=4, num_kv_heads=4, head_dim=32, mrope_section=(8, 4, 4),
    num_experts=4, experts_per_tok=1, moe_intermediate=64, accept_hidden_layer=5,
    audio_width=80, audio_layers=4, audio_channels=12,
    vision_width=64, vision_layers=5, vision_heads=2, vision_positions=30 * 30, deepstack_layers=(0, 1, 3),
    talker_hidden=64, talker_layers=4, talker_heads=8, talker_kv_heads=4, talker_experts=5, talker_experts_per_tok=1,
    talker_moe_intermediate=48, predictor_layers=1, predictor_intermediate=96,
    code2wav_hidden=32, code2wav_layers=4, code2wav_heads=4, decoder_dim=32,
)  # fmt: skip

_CODEC_EOS = 2150

CHECKPOINTS = {
    "tiny": CheckpointSpec(seed=0),
    "no_talker": CheckpointSpec(seed=5, variant="thinking"),
    "stops": CheckpointSpec(
        seed=3,
        # Random weights never end an answer. Here the end wins where these two would have been said.
        say_instead=(
            ("thinker.lm_head.weight", token_ids()["<|im_end|>"], 707),
            ("talker.codec_head.weight", _CODEC_EOS, 837),
        ),
    ),
    "wide": CheckpointSpec(
        seed=11,
        preset=WIDE,
        edits={
            "thinker_config.text_config.norm_topk_prob": False,
            "talker_config.text_config.norm_topk_prob": False,
            "talker_config.text_config.shared_expert_intermediate_size": 36,
            "talker_config.code_predictor_config.num_attention_heads": 4,
            "talker_config.code_predictor_config.num_key_value_heads": 4,
            # Shorter than the recorded speech, so that the window of the attention is seen to work.
            "code2wav_config.sliding_window": 4,
        },
    ),
    "deep": CheckpointSpec(
        seed=13,
        preset=DEEP,
        edits={
            "thinker_config.audio_config.n_window_infer": 400,
            "thinker_config.audio_config.conv_chunksize": 3,
            "thinker_config.text_config.rope_theta": 10000.0,
            "talker_config.text_config.num_experts_per_tok": 2,
        },
    ),
}


def build_checkpoint(name: str, directory: Path) -> Path:
    """Writes the named checkpoint of the reference set: those of other sizes as one safetensors file without index."""
    spec = CHECKPOINTS[name]
    write_tiny(directory, "tiny", spec.seed, spec.variant)
    if spec.preset != PRESETS["tiny"] or spec.edits or spec.say_instead:
        _rewrite(directory, spec)
    return directory


def _rewrite(directory: Path, spec: CheckpointSpec) -> None:
    """Configuration and weights of a checkpoint that differs from what write_tiny can write."""
    from safetensors.numpy import save_file
    from transformers import Qwen3OmniMoeConfig

    arguments = build_config(spec.preset, with_talker=spec.variant == "instruct")
    for key, value in spec.edits.items():
        *parents, last = key.split(".")
        node = arguments
        for parent in parents:
            node = node[parent]
        node[last] = value
    config = Qwen3OmniMoeConfig(**arguments, dtype="float32")
    (directory / "config.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")
    weights = {item.name: draw(item, spec.seed, quiet_rows(spec.preset)) for item in weight_specs(config)}
    for name, row, other in spec.say_instead:
        weights[name][row] = 1.05 * weights[name][other]
    for old in (*directory.glob("*.safetensors"), directory / "model.safetensors.index.json"):
        old.unlink()
    save_file(weights, str(directory / "model.safetensors"), metadata={"format": "pt"})


def quiet_rows(preset: Preset) -> np.ndarray:
    """Ids that the Thinker must not say: special tokens, and rows beyond the tokenizer's vocabulary."""
    special = [index for token, index in token_ids().items() if token.startswith("<") and token != "<|im_end|>"]
    return np.array([*special, *range(vocab_length(), preset.vocab_size)])


def fingerprint(directory: Path) -> float:
    """Sum of the magnitudes of all weights: tells a checkpoint that was not rebuilt as it was recorded."""
    from safetensors.numpy import load_file

    files = sorted(directory.glob("*.safetensors"))
    return float(sum(np.abs(values, dtype=np.float64).sum() for file in files for values in load_file(file).values()))
