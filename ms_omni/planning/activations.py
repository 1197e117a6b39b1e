"""Bytes that the fused engine holds beside weights and caches: inputs and features of a prompt, and the most that any
stage needs at once. Each stage works on bounded pieces (docs/long-inputs.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ms_omni.limits import (
    CHUNK_FRAMES,
    CHUNKS_PER_CONVOLUTION,
    PREFILL_CHUNK,
    ROWS_PER_GROUP,
    SCORES_PER_CALL,
)
from ms_omni.planning.hardware import ASCEND, CPU
from ms_omni.planning.precision import DYNAMIC, Precision
from ms_omni.planning.workload import MediaSizes, Workload

SAMPLES_PER_FRAME = 1920


@dataclass(frozen=True)
class LiveTensors:
    """How many tensors of each kind are held at the same time. encoder_rows, decoder_rows: in units of one layer's
    need. scores: of the encoders' attention. convolved: outputs of the audio encoder's first convolution. wave: of
    Code2Wav's last block. inputs: copies of pixels, all of them float32 except one."""

    encoder_rows: float
    decoder_rows: float
    scores: float
    convolved: float
    wave: float
    inputs: int


# On Ascend these are counted in the code, with room for workspaces, and assumed, except decoder_rows: that comes from
# dry runs of 2, 4 and 8 ranks (docs/benchmarks/plan-memory.md). On the CPU, where numpy works on a part for each core
# and memory is freed late, they are fitted to the tiny and the bench checkpoint.
_LIVE = {ASCEND: LiveTensors(1, 1.45, 0, 2, 8, 1), CPU: LiveTensors(3, 0.5, 0.8, 3, 12, 2)}


@dataclass(frozen=True)
class Execution:
    """What activations depend on besides the configuration. ranks: over which heads and expert columns are split (tp);
    1 otherwise."""

    precision: Precision
    ranks: int
    speak: bool

    @property
    def device(self) -> str:
        """ASCEND or CPU."""
        return self.precision.device

    @property
    def itemsize(self) -> int:
        """Bytes of a value that is not quantized."""
        return self.precision.itemsize

    @property
    def live(self) -> LiveTensors:
        """Of the device."""
        return _LIVE[self.device]

    def inputs(self, values: float) -> float:
        """Bytes of so many input values: on the device, and for a CPU also those that the processor holds."""
        return values * (self.itemsize + 4 * (self.live.inputs - 1))

    def rounded(self, values: float) -> float:
        """The 8-bit copies of hidden states that int8-dynamic multiplies, in values of `itemsize`. On a CPU they are
        made in small parts and count as nothing."""
        return values / self.itemsize if self.precision.quantize == DYNAMIC and self.device == ASCEND else 0.0


def stage_bytes(config: Any, workload: Workload, media: MediaSizes, execution: Execution) -> dict[str, float]:
    """The most bytes that each stage holds at once, its inputs and outputs included."""
    stages = {
        "vision encoder": _vision(config.thinker_config.vision_config, media, execution),
        "audio encoder": _audio(config.thinker_config.audio_config, media, execution),
        "thinker prefill": _prefill(config, workload, media, execution),
    }
    if execution.speak:
        stages["talker prefill"] = _talker(config, workload, media, execution)
        stages["code2wav"] = _wave(config.code2wav_config, workload, execution)
    return stages


def _vision(vision: Any, media: MediaSizes, execution: Execution) -> float:
    if not media.patches:
        return 0.0
    longest = max(media.frame_patches, *media.image_patches, 0)
    rows = min(media.patches, max(ROWS_PER_GROUP, longest))
    pixels = media.patches * vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    layer = rows * max(4 * vision.hidden_size + 2 * vision.intermediate_size, 8 * vision.hidden_size)
    scores = execution.live.scores * min(SCORES_PER_CALL, vision.num_heads * longest * rows)
    levels = 1 + len(vision.deepstack_visual_indexes)
    features = (media.image_tokens + media.video_tokens) * vision.out_hidden_size * levels
    return execution.inputs(pixels) + (execution.live.encoder_rows * layer + scores + features) * execution.itemsize


def _audio(audio: Any, media: MediaSizes, execution: Execution) -> float:
    if not media.mel_frames:
        return 0.0
    chunks = min(-(-sum(media.mel_frames) // 100), CHUNKS_PER_CONVOLUTION)
    # The first convolution halves the 100 frames of a chunk and the mel bins.
    convolved = chunks * audio.downsample_hidden_size * (audio.num_mel_bins // 2) * 50
    rows = min(media.audio_tokens, ROWS_PER_GROUP)
    layer = rows * max(4 * audio.d_model + 2 * audio.encoder_ffn_dim, 8 * audio.d_model)
    stage = max(execution.live.convolved * convolved, execution.live.encoder_rows * layer)
    kept = media.audio_tokens * (audio.d_model + audio.output_dim)
    return execution.inputs(audio.num_mel_bins * sum(media.mel_frames)) + (stage + kept) * execution.itemsize


def _prefill(config: Any, workload: Workload, media: MediaSizes, execution: Execution) -> float:
    text = config.thinker_config.text_config
    tokens, hidden = workload.prompt_tokens + media.prompt_tokens, text.hidden_size
    chunk = min(tokens, PREFILL_CHUNK)
    levels = len(config.thinker_config.vision_config.deepstack_visual_indexes) if media.patches else 0
    # Embeddings before and after the media are inserted, deepstack levels, hidden states for speech.
    whole = tokens * hidden * (2 + levels + (2 if execution.speak else 0))
    heads = text.num_attention_heads * text.head_dim / execution.ranks
    kv_heads = max(1, text.num_key_value_heads / execution.ranks) * text.head_dim
    attention = chunk * (4 * hidden + 3 * heads + 2 * kv_heads + execution.rounded(hidden + heads))
    rows = whole + max(attention, _experts(text, chunk, execution))
    if execution.device == CPU:  # keys and values laid out anew for numpy
        rows += 2 * tokens * kv_heads
    return execution.live.decoder_rows * rows * execution.itemsize


def _talker(config: Any, workload: Workload, media: MediaSizes, execution: Execution) -> float:
    """The prompt goes through projections into the Talker's width, with the Thinker's states still held."""
    talker, tokens = config.talker_config, workload.prompt_tokens + media.prompt_tokens
    text, chunk = talker.text_config, min(workload.prompt_tokens + media.prompt_tokens, PREFILL_CHUNK)
    projected = tokens * (2 * talker.thinker_hidden_size + text.intermediate_size + 2 * text.hidden_size)
    return (projected + max(chunk * 8 * text.hidden_size, _experts(text, chunk, execution))) * execution.itemsize


def _experts(text: Any, tokens: int, execution: Execution) -> float:
    """Values of a layer's experts for so many tokens: for each token and each of its experts the input, the inner
    values and the output; only the output on the CPU, whose threads take a few tokens at a time."""
    hidden, inner = text.hidden_size, text.moe_intermediate_size / execution.ranks
    chosen = hidden if execution.device == CPU else 2 * hidden + 3 * inner + execution.rounded(hidden + inner)
    return tokens * (4 * hidden + text.num_experts_per_tok * chosen)


def _wave(code2wav: Any, workload: Workload, execution: Execution) -> float:
    """The last block is the widest: all samples, and a sixteenth of the decoder's channels."""
    frames = min(workload.talker_max_new_tokens, CHUNK_FRAMES)
    channels = code2wav.decoder_dim >> len(code2wav.upsample_rates)
    return execution.live.wave * frames * SAMPLES_PER_FRAME * channels * execution.itemsize
