"""Every weight of a Qwen3-Omni checkpoint: name, shape and how to draw it at random. Names and shapes follow the
modules of transformers 4.57.1 `modeling_qwen3_omni_moe`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Standard deviations, tuned so that greedy answers vary and speech neither saturates nor vanishes.
EMBEDDING_STD = 0.5
LINEAR_GAIN = 1.0
# Attention is an average over the context, so its output shrinks; this keeps the context as loud as the last token.
ATTENTION_OUT_GAIN = 2.0
# Attention sharp enough to pick single positions; with 1 it averages everything and greedy answers repeat one token.
QK_NORM_MEAN = 2.0
HEAD_GAIN = 3.0
# A gain of 1 in Code2Wav's many residual branches saturates the wave and amplifies rounding.
CODE2WAV_GAIN = 0.7
CODE2WAV_EMBEDDING_STD = 0.3


@dataclass(frozen=True)
class WeightSpec:
    """A weight of normally distributed values. `row_spread`: standard deviation of the log of each row's scale."""

    name: str
    shape: tuple[int, ...]
    std: float
    mean: float = 0.0
    row_spread: float = 0.0


def weight_specs(config: Any) -> Iterator[WeightSpec]:
    """All weights of a transformers Qwen3OmniMoeConfig, in checkpoint order."""
    thinker = config.thinker_config
    yield from _audio_tower(thinker.audio_config)
    yield from _vision_tower(thinker.vision_config)
    text = thinker.text_config
    yield _embedding("thinker.model.embed_tokens.weight", text.vocab_size, text.hidden_size)
    for layer in range(text.num_hidden_layers):
        prefix = f"thinker.model.layers.{layer}"
        yield from _decoder_attention(prefix, text)
        yield from _sparse_mlp(prefix + ".mlp", text)
    yield _norm("thinker.model.norm", text.hidden_size)
    if not text.tie_word_embeddings:
        yield _head("thinker.lm_head.weight", text.vocab_size, text.hidden_size)
    if config.enable_audio_output:
        yield from _talker(config.talker_config)
        yield from _code2wav(config.code2wav_config)


def _norm(name: str, width: int, mean: float = 1.0) -> WeightSpec:
    return WeightSpec(name + ".weight", (width,), std=0.1, mean=mean)


def _layer_norm(name: str, width: int) -> Iterator[WeightSpec]:
    yield _norm(name, width)
    yield WeightSpec(name + ".bias", (width,), std=0.1)


def _embedding(name: str, rows: int, width: int, std: float = EMBEDDING_STD) -> WeightSpec:
    return WeightSpec(name, (rows, width), std)


def _head(name: str, rows: int, width: int) -> WeightSpec:
    # Rows of unequal length keep the two largest logits further apart than rounding can reach.
    return WeightSpec(name, (rows, width), HEAD_GAIN / width**0.5, row_spread=0.3)


def _linear(
    name: str, out: int, width: int, *, kernel: tuple[int, ...] = (), bias: bool = False, gain: float = LINEAR_GAIN
) -> Iterator[WeightSpec]:
    """A linear layer, or a convolution when `kernel` is given: standard deviation gain / sqrt(fan_in)."""
    fan_in = width
    for size in kernel:
        fan_in *= size
    yield WeightSpec(name + ".weight", (out, width, *kernel), gain / fan_in**0.5)
    if bias:
        yield WeightSpec(name + ".bias", (out,), std=0.05)


def _audio_tower(audio: Any) -> Iterator[WeightSpec]:
    root, width, channels = "thinker.audio_tower", audio.d_model, audio.downsample_hidden_size
    for layer in range(audio.encoder_layers):
        prefix = f"{root}.layers.{layer}"
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield from _linear(f"{prefix}.self_attn.{name}", width, width, bias=True)
        yield from _layer_norm(prefix + ".self_attn_layer_norm", width)
        yield from _linear(prefix + ".fc1", audio.encoder_ffn_dim, width, bias=True)
        yield from _linear(prefix + ".fc2", width, audio.encoder_ffn_dim, bias=True)
        yield from _layer_norm(prefix + ".final_layer_norm", width)
    yield from _layer_norm(root + ".ln_post", width)
    yield from _linear(root + ".conv2d1", channels, 1, kernel=(3, 3), bias=True)
    yield from _linear(root + ".conv2d2", channels, channels, kernel=(3, 3), bias=True)
    yield from _linear(root + ".conv2d3", channels, channels, kernel=(3, 3), bias=True)
    mels = audio.num_mel_bins
    for _ in range(3):  # three convolutions of stride 2
        mels = (mels + 1) // 2
    yield from _linear(root + ".conv_out", width, channels * mels, gain=2 * LINEAR_GAIN)
    yield from _linear(root + ".proj1", width, width, bias=True)
    yield from _linear(root + ".proj2", audio.output_dim, width, bias=True)


def _vision_tower(vision: Any) -> Iterator[WeightSpec]:
    root, width = "thinker.visual", vision.hidden_size
    merged = width * vision.spatial_merge_size**2
    for index in range(len(vision.deepstack_visual_indexes)):
        # The deepstack mergers normalise after merging the patches, the last merger before.
        yield from _vision_merger(f"{root}.merger_list.{index}", merged, merged, vision.out_hidden_size)
    kernel = (vision.temporal_patch_size, vision.patch_size, vision.patch_size)
    yield from _linear(root + ".patch_embed.proj", width, vision.in_channels, kernel=kernel, bias=True)
    yield _embedding(root + ".pos_embed.weight", vision.num_position_embeddings, width)
    for layer in range(vision.depth):
        prefix = f"{root}.blocks.{layer}"
        yield from _layer_norm(prefix + ".norm1", width)
        yield from _layer_norm(prefix + ".norm2", width)
        yield from _linear(prefix + ".attn.qkv", 3 * width, width, bias=True)
        yield from _linear(prefix + ".attn.proj", width, width, bias=True)
        yield from _linear(prefix + ".mlp.linear_fc1", vision.intermediate_size, width, bias=True)
        yield from _linear(prefix + ".mlp.linear_fc2", width, vision.intermediate_size, bias=True)
    yield from _vision_merger(root + ".merger", width, merged, vision.out_hidden_size)


def _vision_merger(prefix: str, norm_width: int, merged: int, out: int) -> Iterator[WeightSpec]:
    yield from _layer_norm(prefix + ".ln_q", norm_width)
    yield from _linear(prefix + ".mlp.0", merged, merged, bias=True)
    yield from _linear(prefix + ".mlp.2", out, merged, bias=True)


def _head_dim(text: Any) -> int:
    return getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads


def _decoder_attention(prefix: str, text: Any, qk_norm: bool = True) -> Iterator[WeightSpec]:
    width, head_dim, bias = text.hidden_size, _head_dim(text), text.attention_bias
    query, key = text.num_attention_heads * head_dim, text.num_key_value_heads * head_dim
    yield from _linear(prefix + ".self_attn.q_proj", query, width, bias=bias)
    yield from _linear(prefix + ".self_attn.k_proj", key, width, bias=bias)
    yield from _linear(prefix + ".self_attn.v_proj", key, width, bias=bias)
    yield from _linear(prefix + ".self_attn.o_proj", width, query, bias=bias, gain=ATTENTION_OUT_GAIN)
    if qk_norm:
        yield _norm(prefix + ".self_attn.q_norm", head_dim, QK_NORM_MEAN)
        yield _norm(prefix + ".self_attn.k_norm", head_dim, QK_NORM_MEAN)
    yield _norm(prefix + ".input_layernorm", width)
    yield _norm(prefix + ".post_attention_layernorm", width)


def _gated_mlp(prefix: str, width: int, intermediate: int, gain: float = LINEAR_GAIN) -> Iterator[WeightSpec]:
    yield from _linear(prefix + ".gate_proj", intermediate, width, gain=gain)
    yield from _linear(prefix + ".up_proj", intermediate, width, gain=gain)
    yield from _linear(prefix + ".down_proj", width, intermediate, gain=gain)


def _sparse_mlp(prefix: str, text: Any) -> Iterator[WeightSpec]:
    yield from _linear(prefix + ".gate", text.num_experts, text.hidden_size)
    for expert in range(text.num_experts):
        yield from _gated_mlp(f"{prefix}.experts.{expert}", text.hidden_size, text.moe_intermediate_size)


def _talker(talker: Any) -> Iterator[WeightSpec]:
    text, predictor = talker.text_config, talker.code_predictor_config
    for layer in range(text.num_hidden_layers):
        prefix = f"talker.model.layers.{layer}"
        yield from _decoder_attention(prefix, text)
        yield from _sparse_mlp(prefix + ".mlp", text)
        yield from _gated_mlp(prefix + ".mlp.shared_expert", text.hidden_size, text.shared_expert_intermediate_size)
        yield from _linear(prefix + ".mlp.shared_expert_gate", 1, text.hidden_size)
    yield _norm("talker.model.norm", text.hidden_size)
    yield _embedding("talker.model.codec_embedding.weight", text.vocab_size, text.hidden_size)
    for name in ("text_projection", "hidden_projection"):
        yield from _linear(f"talker.{name}.linear_fc1", text.intermediate_size, talker.thinker_hidden_size, bias=True)
        yield from _linear(f"talker.{name}.linear_fc2", text.hidden_size, text.intermediate_size, bias=True)
    yield _head("talker.codec_head.weight", text.vocab_size, text.hidden_size)
    root = "talker.code_predictor"
    for layer in range(predictor.num_hidden_layers):
        prefix = f"{root}.model.layers.{layer}"
        yield from _decoder_attention(prefix, predictor)
        yield from _gated_mlp(prefix + ".mlp", predictor.hidden_size, predictor.intermediate_size)
    yield _norm(root + ".model.norm", predictor.hidden_size)
    for group in range(predictor.num_code_groups - 1):
        name = f"{root}.model.codec_embedding.{group}.weight"
        yield _embedding(name, predictor.vocab_size, predictor.hidden_size)
        yield _head(f"{root}.lm_head.{group}.weight", predictor.vocab_size, predictor.hidden_size)


def _code2wav(code2wav: Any) -> Iterator[WeightSpec]:
    root, width, gain = "code2wav", code2wav.hidden_size, CODE2WAV_GAIN
    for layer in range(code2wav.num_hidden_layers):
        prefix = f"{root}.pre_transformer.layers.{layer}"
        yield from _decoder_attention(prefix, code2wav, qk_norm=False)
        yield from _gated_mlp(prefix + ".mlp", width, code2wav.intermediate_size)
        for name in ("self_attn_layer_scale", "mlp_layer_scale"):
            yield WeightSpec(f"{prefix}.{name}.scale", (width,), std=0.05, mean=0.3)
    yield _norm(root + ".pre_transformer.norm", width)
    rows = code2wav.codebook_size * code2wav.num_quantizers
    yield _embedding(root + ".code_embedding.weight", rows, width, CODE2WAV_EMBEDDING_STD)
    for index, factor in enumerate(code2wav.upsampling_ratios):
        prefix = f"{root}.upsample.{index}"
        yield from _transposed(prefix + ".0.conv", width, width, factor, factor)
        yield WeightSpec(prefix + ".1.gamma", (width,), std=0.1, mean=0.5)
        yield from _linear(prefix + ".1.dwconv.conv", width, 1, kernel=(7,), bias=True, gain=gain)
        yield from _layer_norm(prefix + ".1.norm", width)
        yield from _linear(prefix + ".1.pwconv1", 4 * width, width, bias=True, gain=gain)
        yield from _linear(prefix + ".1.pwconv2", width, 4 * width, bias=True, gain=gain)
    yield from _wave_decoder(code2wav)


def _wave_decoder(code2wav: Any) -> Iterator[WeightSpec]:
    width, gain = code2wav.decoder_dim, CODE2WAV_GAIN
    yield from _linear("code2wav.decoder.0.conv", width, code2wav.hidden_size, kernel=(7,), bias=True, gain=gain)
    for index, rate in enumerate(code2wav.upsample_rates, start=1):
        prefix = f"code2wav.decoder.{index}.block"
        yield from _snake(prefix + ".0", width)
        yield from _transposed(prefix + ".1.conv", width, width // 2, 2 * rate, rate)
        width //= 2
        for unit in (2, 3, 4):
            yield from _snake(f"{prefix}.{unit}.act1", width)
            yield from _linear(f"{prefix}.{unit}.conv1.conv", width, width, kernel=(7,), bias=True, gain=gain)
            yield from _snake(f"{prefix}.{unit}.act2", width)
            yield from _linear(f"{prefix}.{unit}.conv2.conv", width, width, kernel=(1,), bias=True, gain=gain / 2)
    last = len(code2wav.upsample_rates) + 1
    yield from _snake(f"code2wav.decoder.{last}", width)
    yield from _linear(f"code2wav.decoder.{last + 1}.conv", 1, width, kernel=(7,), bias=True, gain=gain / 2)


def _snake(prefix: str, width: int) -> Iterator[WeightSpec]:
    # SnakeBeta uses exp(alpha) and exp(beta).
    yield WeightSpec(prefix + ".alpha", (width,), std=0.1)
    yield WeightSpec(prefix + ".beta", (width,), std=0.1)


def _transposed(name: str, width: int, out: int, kernel: int, stride: int) -> Iterator[WeightSpec]:
    # Each output sample of a transposed convolution sees kernel / stride input frames.
    fan_in = width * kernel / stride
    yield WeightSpec(name + ".weight", (width, out, kernel), CODE2WAV_GAIN / fan_in**0.5)
    yield WeightSpec(name + ".bias", (out,), std=0.05)
