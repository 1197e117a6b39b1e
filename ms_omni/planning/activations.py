"""Bytes that the fused engine holds beside weights and caches: inputs and features of a prompt, and the most that any
stage needs at once. Each stage works on bounded pieces (docs/long-inputs.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ms_omni.planning.hardware import CPU
from ms_omni.planning.workload import MediaSizes, Workload

# Bounds of the runtime, repeated here because its modules import MindSpore; a test compares them.
PREFILL_CHUNK = 2048
ROWS_PER_GROUP = 16384
CHUNKS_PER_CONVOLUTION = 64
SCORES_PER_CALL = 1 << 24
CHUNK_FRAMES = 300
SAMPLES_PER_FRAME = 1920

# Tensors of the widest stage of Code2Wav that are alive at once. On the CPU, where a convolution unfolds its input:
# measured (docs/plan.md); on Ascend: assumed, with room for a convolution's workspace.
WAVE_COPIES = {CPU: 24, "Ascend": 8}


@dataclass(frozen=True)
class Shape:
    """What activations depend on besides the configuration. itemsize: bytes of a value. ranks: that heads and expert
    columns are split over (tp), else 1."""

    device: str
    itemsize: int
    ranks: int
    speak: bool


def stage_bytes(config: Any, workload: Workload, media: MediaSizes, shape: Shape) -> dict[str, float]:
    """The most that each stage holds at once, with what it is given and what it hands on."""
    stages = {
        "vision encoder": _vision(config.thinker_config.vision_config, media, shape),
        "audio encoder": _audio(config.thinker_config.audio_config, media, shape),
        "thinker prefill": _prefill(config, workload, media, shape),
    }
    if shape.speak:
        stages["talker prefill"] = _talker(config, workload, media, shape)
        stages["code2wav"] = _wave(config.code2wav_config, workload, shape)
    return stages


def _vision(vision: Any, media: MediaSizes, shape: Shape) -> float:
    if not media.patches:
        return 0.0
    rows = min(media.patches, max(ROWS_PER_GROUP, media.frame_patches, *media.image_patches, 0))
    # A patch holds two frames' pixels. On the CPU the processor's arrays are in the same memory, in float32.
    values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    pixels = media.patches * values * (shape.itemsize + (4 if shape.device == CPU else 0))
    widest = 4 * vision.hidden_size + 2 * vision.intermediate_size
    attention = 8 * vision.hidden_size
    scores = 0.0
    if shape.device == CPU:  # eager attention keeps its scores, and once more after the softmax
        longest = max(media.frame_patches, *media.image_patches, 0)
        scores = 2 * 4 * min(SCORES_PER_CALL, vision.num_heads * longest * rows)
    features = media.image_tokens + media.video_tokens
    levels = 1 + len(vision.deepstack_visual_indexes)
    return (
        pixels
        + rows * max(widest, attention) * shape.itemsize
        + scores
        + features * vision.out_hidden_size * levels * shape.itemsize
    )


def _audio(audio: Any, media: MediaSizes, shape: Shape) -> float:
    frames = sum(media.mel_frames)
    if not frames:
        return 0.0
    chunks = min(-(-frames // 100), CHUNKS_PER_CONVOLUTION)
    # The first convolution halves 100 frames and the mel bins; its activation is as large again.
    convolved = 2 * chunks * audio.downsample_hidden_size * (audio.num_mel_bins // 2) * 50
    if shape.device == CPU:
        convolved *= 2  # a convolution of the CPU reorders its input
    rows = min(media.audio_tokens, ROWS_PER_GROUP)
    widest = rows * (4 * audio.d_model + 2 * audio.encoder_ffn_dim)
    inputs = audio.num_mel_bins * max(media.mel_frames) * (shape.itemsize + (12 if shape.device == CPU else 0))
    kept = media.audio_tokens * (audio.d_model + audio.output_dim) * shape.itemsize
    return inputs + max(convolved, widest) * shape.itemsize + kept


def _prefill(config: Any, workload: Workload, media: MediaSizes, shape: Shape) -> float:
    text = config.thinker_config.text_config
    tokens, hidden = workload.prompt_tokens + media.prompt_tokens, text.hidden_size
    chunk = min(tokens, PREFILL_CHUNK)
    levels = len(config.thinker_config.vision_config.deepstack_visual_indexes) if media.patches else 0
    kept = 2 if shape.speak else 0
    # Embeddings before and after the media are laid in, deepstack levels, what is kept for speech.
    whole = tokens * hidden * (2 + levels + kept)
    heads = text.num_attention_heads * text.head_dim / shape.ranks
    kv_heads = max(1, text.num_key_value_heads / shape.ranks) * text.head_dim
    attention = chunk * (4 * hidden + 3 * heads + 2 * kv_heads)
    inner = text.moe_intermediate_size / shape.ranks
    if shape.device == CPU:  # expert after expert, each with the tokens that chose it
        experts = chunk * (2 * hidden + 3 * inner)
        scores = 4 * min(SCORES_PER_CALL, text.num_attention_heads * chunk * tokens)
        keys = 4 * 2 * tokens * kv_heads  # laid out anew for numpy
    else:
        experts = chunk * text.num_experts_per_tok * (2 * hidden + 3 * inner)
        scores = keys = 0.0
    return (whole + max(attention, chunk * 4 * hidden + experts)) * shape.itemsize + scores + keys


def _talker(config: Any, workload: Workload, media: MediaSizes, shape: Shape) -> float:
    """The prompt goes through projections into the Talker's width, with the Thinker's states still held."""
    talker, tokens = config.talker_config, workload.prompt_tokens + media.prompt_tokens
    text, chunk = talker.text_config, min(workload.prompt_tokens + media.prompt_tokens, PREFILL_CHUNK)
    projected = tokens * (2 * talker.thinker_hidden_size + text.intermediate_size + 2 * text.hidden_size)
    return (projected + chunk * 8 * text.hidden_size) * shape.itemsize


def _wave(code2wav: Any, workload: Workload, shape: Shape) -> float:
    """The last block is the widest: all samples, and a sixteenth of the decoder's channels."""
    frames = min(workload.talker_max_new_tokens, CHUNK_FRAMES)
    channels = code2wav.decoder_dim >> len(code2wav.upsample_rates)
    return WAVE_COPIES[shape.device] * frames * SAMPLES_PER_FRAME * channels * shape.itemsize
