"""Sizes of the checkpoints that `write_tiny` writes, as transformers configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ms_omni.checkpoint.tiny_tokenizer import token_ids, vocab_length


@dataclass(frozen=True)
class Preset:
    """Dimensions of one preset. `head_dim` serves Thinker, Talker and code predictor. `mrope_section` sums to
    head_dim / 2 (rotary angles come in pairs), in the released ratio 24 : 20 : 20."""

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    mrope_section: tuple[int, int, int]
    num_experts: int
    experts_per_tok: int
    moe_intermediate: int
    vocab_size: int
    accept_hidden_layer: int
    audio_width: int
    audio_layers: int
    audio_channels: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    vision_positions: int
    deepstack_layers: tuple[int, ...]
    talker_hidden: int
    talker_layers: int
    talker_heads: int
    talker_kv_heads: int
    talker_experts: int
    talker_experts_per_tok: int
    talker_moe_intermediate: int
    predictor_layers: int
    predictor_intermediate: int
    code2wav_hidden: int
    code2wav_layers: int
    code2wav_heads: int
    decoder_dim: int
    thinker_max_new_tokens: int
    talker_max_new_tokens: int


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


# A line for each part: Thinker (two), sound, pictures, Talker (two), code predictor, Code2Wav, lengths of answers.
PRESETS = {
    # About 12 MB, most of it embeddings: 16 codebooks of 2048 codes each, as released, in three places. The accepted
    # layer is above the deepstack layers: before them, mindone and transformers record different hidden states.
    "tiny": Preset(
        hidden_size=64, num_layers=4, num_heads=4, num_kv_heads=2, head_dim=32, mrope_section=(6, 5, 5), num_experts=8,
        experts_per_tok=2, moe_intermediate=32, vocab_size=_round_up(vocab_length(), 64), accept_hidden_layer=3,
        audio_width=64, audio_layers=2, audio_channels=16,
        vision_width=32, vision_layers=4, vision_heads=2, vision_positions=24 * 24, deepstack_layers=(0, 2),
        talker_hidden=24, talker_layers=2, talker_heads=4, talker_kv_heads=2,
        talker_experts=8, talker_experts_per_tok=2, talker_moe_intermediate=32,
        predictor_layers=2, predictor_intermediate=64,
        code2wav_hidden=16, code2wav_layers=2, code2wav_heads=2, decoder_dim=64,
        thinker_max_new_tokens=48, talker_max_new_tokens=96,
    ),
    # About 600 MB: large enough that a decode step is dominated by reading weights, as on the released model.
    "bench": Preset(
        hidden_size=512, num_layers=8, num_heads=8, num_kv_heads=2, head_dim=64, mrope_section=(12, 10, 10),
        num_experts=32, experts_per_tok=4, moe_intermediate=256, vocab_size=8192, accept_hidden_layer=4,
        audio_width=256, audio_layers=4, audio_channels=64,
        vision_width=256, vision_layers=8, vision_heads=4, vision_positions=48 * 48, deepstack_layers=(2, 4, 6),
        talker_hidden=256, talker_layers=4, talker_heads=8, talker_kv_heads=2,
        talker_experts=16, talker_experts_per_tok=4, talker_moe_intermediate=128,
        predictor_layers=5, predictor_intermediate=768,
        code2wav_hidden=256, code2wav_layers=8, code2wav_heads=4, decoder_dim=384,
        thinker_max_new_tokens=128, talker_max_new_tokens=512,
    ),
}  # fmt: skip


def build_config(preset: Preset, with_talker: bool = True, ids: dict[str, int] | None = None) -> dict[str, Any]:
    """Keyword arguments of transformers' Qwen3OmniMoeConfig. Without a Talker they are as for the Thinking and
    Captioner checkpoints: enable_audio_output is false, and the Talker's part is transformers' default. ids: of the
    special tokens and roles, by default those of the random checkpoints' tokenizer."""
    ids = ids or token_ids()
    config: dict[str, Any] = {
        "architectures": ["Qwen3OmniMoeForConditionalGeneration"],
        "enable_audio_output": with_talker,
        "im_start_token_id": ids["<|im_start|>"],
        "im_end_token_id": ids["<|im_end|>"],
        "tts_pad_token_id": ids["<tts_pad>"],
        "tts_bos_token_id": ids["<tts_text_bos>"],
        "tts_eos_token_id": ids["<tts_text_eod>"],
        "system_token_id": ids["system"],
        "user_token_id": ids["user"],
        "assistant_token_id": ids["assistant"],
        "thinker_config": _thinker_config(preset, ids),
    }
    if with_talker:
        config["talker_config"] = _talker_config(preset, ids)
        config["code2wav_config"] = _code2wav_config(preset)
    return config


def _media_ids(ids: dict[str, int]) -> dict[str, int]:
    return {
        "audio_token_id": ids["<|audio_pad|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "audio_start_token_id": ids["<|audio_start|>"],
        "audio_end_token_id": ids["<|audio_end|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "position_id_per_seconds": 13,
    }


def _rope_scaling(preset: Preset) -> dict[str, Any]:
    section = list(preset.mrope_section)
    return {"interleaved": True, "mrope_interleaved": True, "mrope_section": section, "rope_type": "default"}


def _thinker_config(preset: Preset, ids: dict[str, int]) -> dict[str, Any]:
    return {
        **_media_ids(ids),
        "user_token_id": ids["user"],
        "text_config": {
            "vocab_size": preset.vocab_size,
            "hidden_size": preset.hidden_size,
            "intermediate_size": preset.moe_intermediate,
            "num_hidden_layers": preset.num_layers,
            "num_attention_heads": preset.num_heads,
            "num_key_value_heads": preset.num_kv_heads,
            "head_dim": preset.head_dim,
            "max_position_embeddings": 65536,
            "rope_theta": 1000000.0,
            "rope_scaling": _rope_scaling(preset),
            "moe_intermediate_size": preset.moe_intermediate,
            "num_experts": preset.num_experts,
            "num_experts_per_tok": preset.experts_per_tok,
            "norm_topk_prob": True,
        },
        "audio_config": {
            "num_mel_bins": 128,
            "encoder_layers": preset.audio_layers,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 2 * preset.audio_width,
            "d_model": preset.audio_width,
            "downsample_hidden_size": preset.audio_channels,
            "output_dim": preset.hidden_size,
            "max_source_positions": 1500,
            "n_window": 50,
            "n_window_infer": 800,
            "conv_chunksize": 500,
        },
        "vision_config": {
            "depth": preset.vision_layers,
            "hidden_size": preset.vision_width,
            "intermediate_size": 2 * preset.vision_width,
            "num_heads": preset.vision_heads,
            "num_position_embeddings": preset.vision_positions,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": preset.hidden_size,
            "deepstack_visual_indexes": list(preset.deepstack_layers),
        },
    }


def _talker_config(preset: Preset, ids: dict[str, int]) -> dict[str, Any]:
    attention = {
        "hidden_size": preset.talker_hidden,
        "num_attention_heads": preset.talker_heads,
        "num_key_value_heads": preset.talker_kv_heads,
        "head_dim": preset.head_dim,
        "rope_theta": 1000000.0,
    }
    return {
        **_media_ids(ids),
        "num_code_groups": 16,
        "thinker_hidden_size": preset.hidden_size,
        "accept_hidden_layer": preset.accept_hidden_layer,
        "spatial_merge_size": 2,
        # The released layout of the 3072 codec ids: 2048 codes, then 1024 control ids.
        "codec_pad_id": 2148,
        "codec_bos_id": 2149,
        "codec_eos_token_id": 2150,
        "codec_nothink_id": 2155,
        "codec_think_bos_id": 2156,
        "codec_think_eos_id": 2157,
        "speaker_id": {"chelsie": 2301, "ethan": 2302, "aiden": 2303},
        "text_config": {
            **attention,
            "vocab_size": 3072,
            "num_hidden_layers": preset.talker_layers,
            # The width inside text_projection and hidden_projection.
            "intermediate_size": 2 * preset.talker_hidden,
            "max_position_embeddings": 65536,
            "rope_scaling": _rope_scaling(preset),
            "moe_intermediate_size": preset.talker_moe_intermediate,
            "shared_expert_intermediate_size": 2 * preset.talker_moe_intermediate,
            "num_experts": preset.talker_experts,
            "num_experts_per_tok": preset.talker_experts_per_tok,
            "norm_topk_prob": True,
        },
        "code_predictor_config": {
            **attention,
            "vocab_size": 2048,
            "num_hidden_layers": preset.predictor_layers,
            "intermediate_size": preset.predictor_intermediate,
            "num_code_groups": 16,
            "max_position_embeddings": 65536,
        },
    }


def _code2wav_config(preset: Preset) -> dict[str, Any]:
    return {
        "codebook_size": 2048,
        "num_quantizers": 16,
        "hidden_size": preset.code2wav_hidden,
        "intermediate_size": 3 * preset.code2wav_hidden,
        "num_hidden_layers": preset.code2wav_layers,
        "num_attention_heads": preset.code2wav_heads,
        "num_key_value_heads": preset.code2wav_heads,
        "decoder_dim": preset.decoder_dim,
        "sliding_window": 72,
        # 8*5*4*3 * 2*2 = 1920 samples a frame.
        "upsample_rates": [8, 5, 4, 3],
        "upsampling_ratios": [2, 2],
    }
