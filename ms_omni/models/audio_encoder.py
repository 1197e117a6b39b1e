"""mindone 0.5.0's audio encoder, corrected: chunks of one second, masked tails, attention windows of 8 s."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import mindspore as ms
import numpy as np
from mindone.transformers.modeling_outputs import BaseModelOutput
from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeAudioAttention,
    Qwen3OmniMoeAudioEncoder,
    Qwen3OmniMoeAudioEncoderLayer,
)
from mindspore import Tensor, mint, ops

from ms_omni import limits
from ms_omni.kernels.concatenate import concatenated
from ms_omni.kernels.cpu_arrays import float32_array
from ms_omni.kernels.device import on_cpu
from ms_omni.models import encoders_cpu
from ms_omni.models.parts_cpu import Parts
from ms_omni.models.segments import attend_in_segments, attention_function, audio_segment_lengths, segment_groups

# transformers 4.57.1 keeps the hidden states of a float16 layer within float16's largest number less 1000.
FLOAT16_LIMIT = 65504.0 - 1000.0


def audio_token_counts(num_mel_frames: np.ndarray) -> np.ndarray:
    """Tokens of clips with these numbers of mel frames (10 ms each): three convolutions of stride 2 over chunks of 100
    frames, 13 tokens for a full chunk. Source: transformers 4.57.1 `_get_feat_extract_output_lengths`."""
    frames = np.asarray(num_mel_frames, dtype=np.int64)
    tail = frames % 100
    for _ in range(3):
        tail = (tail - 1) // 2 + 1
    return tail + frames // 100 * 13


class AudioAttention(Qwen3OmniMoeAudioAttention):
    """Attends within `segment_lengths`; mindone attends over all packed clips."""

    def construct(self, hidden_states: Tensor, segment_lengths: list[int], **_: Any) -> Tensor:
        """hidden_states: (tokens, d_model). Returns the same shape."""
        tokens = hidden_states.shape[0]
        query, key, value = (
            proj(hidden_states).reshape(tokens, self.num_heads, self.head_dim).swapaxes(0, 1).unsqueeze(0)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = attend_in_segments(
            attention_function(self.config), self, query, key, value, segment_lengths, self.scaling
        )
        return self.out_proj(out.reshape(tokens, self.embed_dim))


class AudioEncoderLayer(Qwen3OmniMoeAudioEncoderLayer):
    """Limits float16 hidden states by two numbers (aclnnClamp). mindone's limits are tensors, which every layer copies
    to the card (aclnnClampTensor)."""

    def construct(self, hidden_states: Tensor, cu_seqlens: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        """hidden_states: (tokens, d_model). A tuple of one tensor of the same shape."""
        attended = self.self_attn(
            hidden_states=self.self_attn_layer_norm(hidden_states),
            cu_seqlens=cu_seqlens,
            attention_mask=attention_mask,
            **kwargs,
        )
        hidden_states = hidden_states + attended
        inner = self.activation_fn(self.fc1(self.final_layer_norm(hidden_states)))
        hidden_states = hidden_states + self.fc2(inner)
        if hidden_states.dtype == ms.float16:
            hidden_states = mint.clamp(hidden_states, min=-FLOAT16_LIMIT, max=FLOAT16_LIMIT)
        return (hidden_states,)


class AudioEncoder(Qwen3OmniMoeAudioEncoder):
    """Encodes clips of any length as transformers does with flash attention (mindone: `[n] * tensor` multiplies
    instead of repeating, so a clip over a second raises or is convolved whole; tails are not masked; no windows)."""

    def construct(self, input_features: Tensor, feature_lens: np.ndarray, **_: Any) -> BaseModelOutput:
        """input_features: float (mel_bins, sum(feature_lens)), the mel frames of all clips, packed. feature_lens: int
        (clips,), on the host. `last_hidden_state`: (audio tokens, output_dim), packed in the same order."""
        feature_lens = np.asarray(feature_lens, dtype=np.int64).reshape(-1)
        chunk_lengths = self._chunk_lengths(feature_lens)
        tokens_per_chunk = int(audio_token_counts(np.array([max(chunk_lengths)]))[0])
        hidden = self._convolve(input_features, chunk_lengths)
        lengths = self._windows(feature_lens, tokens_per_chunk)
        outputs = [
            self._encode(hidden[start:end], group)
            for start, end, group in segment_groups(lengths, limits.ROWS_PER_GROUP)
        ]
        return BaseModelOutput(last_hidden_state=concatenated(outputs))

    @cached_property
    def _parts(self) -> Parts:
        return Parts(self)

    def _encode(self, hidden: Tensor, segment_lengths: list[int]) -> Tensor:
        """hidden: (tokens, d_model), convolved, of whole windows. (tokens, output_dim)."""
        if on_cpu():
            return Tensor.from_numpy(
                encoders_cpu.encode_audio(self, self._parts, float32_array(hidden), segment_lengths)
            )
        for layer in self.layers:
            hidden = layer(hidden, None, segment_lengths=segment_lengths)[0]
        return self.proj2(self.act(self.proj1(self.ln_post(hidden))))

    def _windows(self, feature_lens: np.ndarray, tokens_per_chunk: int) -> list[int]:
        """Tokens of every attention window."""
        counts = audio_token_counts(feature_lens).tolist()
        return audio_segment_lengths(counts, tokens_per_chunk, self.n_window, self.n_window_infer)

    def _chunk_lengths(self, feature_lens: np.ndarray) -> list[int]:
        """Mel frames of every convolution chunk: 2 * n_window each, or the rest at the end of a clip."""
        size = self.n_window * 2
        lengths: list[int] = []
        for frames in feature_lens.tolist():
            full, rest = divmod(frames, size)
            lengths += [size] * full + ([rest] if rest else [])
        return lengths

    def _convolve(self, input_features: Tensor, chunk_lens: list[int]) -> Tensor:
        """Mel frames to (audio tokens, d_model), positions added, some chunks at a time."""
        if on_cpu():
            counts = audio_token_counts(np.array(chunk_lens)).tolist()
            return Tensor.from_numpy(
                encoders_cpu.convolve_audio(self, float32_array(input_features), chunk_lens, counts)
            )
        size, longest, start = min(self.conv_chunksize, limits.CHUNKS_PER_CONVOLUTION), max(chunk_lens), 0
        outputs = []
        for first in range(0, len(chunk_lens), size):
            lengths = chunk_lens[first : first + size]
            end = start + sum(lengths)
            tokens = self._convolve_chunks(self._chunks(input_features[:, start:end], lengths, longest))
            positions = self.positional_embedding.positional_embedding[: tokens.shape[1]].unsqueeze(0)
            tokens = tokens + positions.astype(tokens.dtype)
            valid = self._valid_rows(lengths, tokens.shape[1])
            outputs.append(ops.gather(tokens.reshape(-1, tokens.shape[2]), valid, 0))
            start = end
        return concatenated(outputs)

    @staticmethod
    def _chunks(input_features: Tensor, chunk_lens: list[int], longest: int) -> Tensor:
        """(chunks, 1, mel_bins, longest), zero-padded at the end: to the longest chunk of all clips, as
        transformers does, since the convolutions see whether there is padding."""
        mel_bins, zero_column = input_features.shape
        columns = np.full((len(chunk_lens), longest), zero_column, dtype=np.int32)
        start = 0
        for row, length in enumerate(chunk_lens):
            columns[row, :length] = np.arange(start, start + length)
            start += length
        padded = mint.cat([input_features, mint.zeros((mel_bins, 1), dtype=input_features.dtype)], dim=1)
        chunks = ops.gather(padded, Tensor(columns.reshape(-1)), 1)
        return chunks.reshape(mel_bins, len(chunk_lens), longest).swapaxes(0, 1).unsqueeze(1)

    def _convolve_chunks(self, chunks: Tensor) -> Tensor:
        """(chunks, 1, mel_bins, mel frames) to (chunks, tokens per chunk, d_model)."""
        for conv in (self.conv2d1, self.conv2d2, self.conv2d3):
            chunks = mint.nn.functional.gelu(conv(chunks))
        count, channels, freq, time = chunks.shape
        return self.conv_out(chunks.permute(0, 3, 1, 2).reshape(count, time, channels * freq))

    @staticmethod
    def _valid_rows(chunk_lens: list[int], tokens_per_chunk: int) -> Tensor:
        """Row numbers of the tokens that are not padding, in the (chunks * tokens_per_chunk) order."""
        counts = audio_token_counts(np.asarray(chunk_lens))
        rows = [np.arange(count) + i * tokens_per_chunk for i, count in enumerate(counts.tolist())]
        return Tensor(np.concatenate(rows).astype(np.int32))
