"""The files of the trained checkpoint beside its weights: configuration, tokenizer, processors.

python docs/tiny/checkpoint_files.py DIR
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from scenes import PIXELS

from ms_omni.checkpoint.built_in import DIRECTORY
from ms_omni.checkpoint.presets import Preset, build_config
from ms_omni.checkpoint.tiny_tokenizer import ROLE_WORDS

CODEBOOK_SIZE = 256
NUM_CODE_GROUPS = 4
# Codec control ids follow the codes, at the distances that the released model has.
CODEC_BASE = CODEBOOK_SIZE

# The published weights belong to these files: training does not change them.
PROCESSOR_FILES = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json",
    "special_tokens_map.json", "preprocessor_config.json", "video_preprocessor_config.json", "chat_template.jinja",
)  # fmt: skip

PRESET = Preset(
    hidden_size=128, num_layers=6, num_heads=4, num_kv_heads=2, head_dim=32, mrope_section=(6, 5, 5),
    num_experts=8, experts_per_tok=2, moe_intermediate=96, vocab_size=1280, accept_hidden_layer=4,
    audio_width=128, audio_layers=4, audio_channels=24,
    vision_width=96, vision_layers=4, vision_heads=3, vision_positions=16 * 16, deepstack_layers=(0, 2),
    talker_hidden=128, talker_layers=4, talker_heads=4, talker_kv_heads=2, talker_experts=4, talker_experts_per_tok=2,
    talker_moe_intermediate=96, predictor_layers=2, predictor_intermediate=256,
    code2wav_hidden=96, code2wav_layers=2, code2wav_heads=4, decoder_dim=224,
    thinker_max_new_tokens=48, talker_max_new_tokens=300,
)  # fmt: skip


def token_ids(directory: Path) -> dict[str, int]:
    """Ids of the special tokens and of the role words."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    ids = json.loads((directory / "added_tokens.json").read_text(encoding="utf-8"))
    for role in ROLE_WORDS:
        encoded = tokenizer.encode(role, add_special_tokens=False).ids
        if len(encoded) != 1:
            raise ValueError(f"{role} must be one token, is {len(encoded)}")
        ids[role] = encoded[0]
    return ids


def config_arguments(directory: Path) -> dict[str, Any]:
    """Keyword arguments of Qwen3OmniMoeConfig."""
    ids = token_ids(directory)
    config = build_config(PRESET, ids=ids)
    talker, code2wav = config["talker_config"], config["code2wav_config"]
    talker["num_code_groups"] = talker["code_predictor_config"]["num_code_groups"] = NUM_CODE_GROUPS
    talker["code_predictor_config"]["vocab_size"] = CODEBOOK_SIZE
    talker["text_config"]["vocab_size"] = CODEBOOK_SIZE + 1024
    for name, offset in (
        ("codec_pad_id", 100), ("codec_bos_id", 101), ("codec_eos_token_id", 102), ("codec_nothink_id", 107),
        ("codec_think_bos_id", 108), ("codec_think_eos_id", 109),
    ):  # fmt: skip
        talker[name] = CODEC_BASE + offset
    talker["speaker_id"] = {"chelsie": CODEC_BASE + 253, "ethan": CODEC_BASE + 254}
    code2wav["num_quantizers"], code2wav["codebook_size"] = NUM_CODE_GROUPS, CODEBOOK_SIZE
    return config


def write_files(directory: Path) -> None:
    """Everything but the weights."""
    from transformers import Qwen3OmniMoeConfig

    directory.mkdir(parents=True, exist_ok=True)
    for name in PROCESSOR_FILES:
        shutil.copyfile(DIRECTORY / name, directory / name)
    pixels = json.loads((directory / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert (pixels["min_pixels"], pixels["max_pixels"]) == tuple(PIXELS), "the scenes have other sizes"
    config = Qwen3OmniMoeConfig(**config_arguments(directory), dtype="float16")
    _dump(directory / "config.json", config.to_dict())
    ids = token_ids(directory)
    generation = {
        "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"],
        "talker_do_sample": False, "talker_repetition_penalty": 1.0,
        "thinker_max_new_tokens": PRESET.thinker_max_new_tokens, "talker_max_new_tokens": PRESET.talker_max_new_tokens,
    }  # fmt: skip
    _dump(directory / "generation_config.json", generation)


def _dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_files(Path(sys.argv[1]))
