"""mindone 0.5.0's audio encoder, corrected: chunks of one second, masked tails, attention windows of 8 s."""

from __future__ import annotations

from typing import Any

import numpy as np
from mindone.transformers.modeling_outputs import BaseModelOutput
from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeAudioAttention,
    Qwen3OmniMoeAudioEncoder,
)
from mindspore import Tensor, mint, ops

from ms_omni.models.segments import attend_in_segments, attention_function, audio_segment_lengths


def audio_token_counts(num_mel_frames: np.ndarray) -> np.ndarray:
    """Tokens of clips of so many mel frames (10 ms each): three convolutions of stride 2 over chunks of 100 frames, 13
    tokens a full chunk. Source: transformers 4.57.1 `_get_feat_extract_output_lengths`."""
    frames = np.asarray(num_mel_frames, dtype=np.int64)
    tail = frames % 100
    for _ in range(3):
        tail = (tail - 1) // 2 + 1
    return tail + frames // 100 * 13


class AudioAttention(Qwen3OmniMoeAudioAttention):
    """Attends within `segment_lengths`; mindone attends over everything that was packed."""

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


class AudioEncoder(Qwen3OmniMoeAudioEncoder):
    """Encodes clips of any length as transformers does with flash attention (mindone: `[n] * tensor` multiplies
    instead of repeating, so a clip over a second raises or is convolved whole; tails are not masked; no windows)."""

    def construct(self, input_features: Tensor, feature_lens: np.ndarray, **_: Any) -> BaseModelOutput:
        """input_features: float, (mel_bins, sum(feature_lens)), the packed mel frames of every clip; feature_lens: int,
        (clips,), on the host. `last_hidden_state`: (audio tokens, output_dim), packed in the same order."""
        feature_lens = np.asarray(feature_lens, dtype=np.int64).reshape(-1)
        chunk_lens = self._chunk_lengths(feature_lens)
        hidden = self._convolve(self._chunks(input_features, chunk_lens))
        hidden = hidden + self.positional_embedding.positional_embedding[: hidden.shape[1]].unsqueeze(0).astype(
            hidden.dtype
        )
        tokens_per_chunk, width = hidden.shape[1], hidden.shape[2]
        hidden = ops.gather(hidden.reshape(-1, width), self._valid_rows(chunk_lens, tokens_per_chunk), 0)
        segment_lengths = audio_segment_lengths(
            audio_token_counts(feature_lens).tolist(), tokens_per_chunk, self.n_window, self.n_window_infer
        )
        for layer in self.layers:
            hidden = layer(hidden, None, segment_lengths=segment_lengths)[0]
        hidden = self.proj2(self.act(self.proj1(self.ln_post(hidden))))
        return BaseModelOutput(last_hidden_state=hidden)

    def _chunk_lengths(self, feature_lens: np.ndarray) -> list[int]:
        """Mel frames of every convolution chunk: 2 * n_window each, a clip's last one what is left."""
        size = self.n_window * 2
        lengths: list[int] = []
        for frames in feature_lens.tolist():
            full, rest = divmod(frames, size)
            lengths += [size] * full + ([rest] if rest else [])
        return lengths

    def _chunks(self, input_features: Tensor, chunk_lens: list[int]) -> Tensor:
        """(chunks, 1, mel_bins, longest chunk), zero-padded at the end."""
        longest, mel_bins = max(chunk_lens), input_features.shape[0]
        zero_column = input_features.shape[1]
        columns = np.full((len(chunk_lens), longest), zero_column, dtype=np.int32)
        start = 0
        for row, length in enumerate(chunk_lens):
            columns[row, :length] = np.arange(start, start + length)
            start += length
        padded = mint.cat([input_features, mint.zeros((mel_bins, 1), dtype=input_features.dtype)], dim=1)
        chunks = ops.gather(padded, Tensor(columns.reshape(-1)), 1)
        return chunks.reshape(mel_bins, len(chunk_lens), longest).swapaxes(0, 1).unsqueeze(1)

    def _convolve(self, chunks: Tensor) -> Tensor:
        """(chunks, tokens per chunk, d_model); conv_chunksize chunks at a time bound the memory."""
        outputs = []
        for start in range(0, chunks.shape[0], self.conv_chunksize):
            part = chunks[start : start + self.conv_chunksize]
            for conv in (self.conv2d1, self.conv2d2, self.conv2d3):
                part = mint.nn.functional.gelu(conv(part))
            outputs.append(part)
        hidden = outputs[0] if len(outputs) == 1 else mint.cat(outputs, dim=0)
        count, channels, freq, time = hidden.shape
        return self.conv_out(hidden.permute(0, 3, 1, 2).reshape(count, time, channels * freq))

    @staticmethod
    def _valid_rows(chunk_lens: list[int], tokens_per_chunk: int) -> Tensor:
        """Row numbers of the tokens that are not padding, in the (chunks * tokens_per_chunk) order."""
        counts = audio_token_counts(np.asarray(chunk_lens))
        rows = [np.arange(count) + i * tokens_per_chunk for i, count in enumerate(counts.tolist())]
        return Tensor(np.concatenate(rows).astype(np.int32))
