"""Both encoders on the CPU: mindone's cells read as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ms_omni.kernels.cpu_arrays import float32_array
from ms_omni.kernels.host_threads import in_parallel, row_parts
from ms_omni.kernels.numpy_activations import gelu
from ms_omni.kernels.numpy_conv import strided_conv2d
from ms_omni.kernels.numpy_encoder import EncoderLayer, LayerNorm, Linear, activation
from ms_omni.models.parts_cpu import Parts


def convolve_audio(
    encoder: Any, mel: np.ndarray, chunk_lengths: Sequence[int], token_counts: Sequence[int]
) -> np.ndarray:
    """mel: (mel_bins, sum(chunk_lengths)). token_counts: of every chunk. (sum(token_counts), d_model), positions added.
    Chunks are padded to the longest, as in transformers: padding changes what the convolutions compute."""
    weights = [
        (float32_array(conv.weight), float32_array(conv.bias))
        for conv in (encoder.conv2d1, encoder.conv2d2, encoder.conv2d3)
    ]
    project, positions = Linear(encoder.conv_out), float32_array(encoder.positional_embedding.positional_embedding)
    longest, (width, out_width) = max(chunk_lengths), project.weight.shape
    out = np.empty((sum(token_counts), out_width), np.float32)
    frame_ends, token_ends = np.cumsum(chunk_lengths), np.cumsum(token_counts)

    def convolve(chunk: int) -> None:
        frames, tokens = chunk_lengths[chunk], token_counts[chunk]
        x = np.zeros((1, mel.shape[0], longest), np.float32)
        x[0, :, :frames] = mel[:, frame_ends[chunk] - frames : frame_ends[chunk]]
        for weight, bias in weights:
            x = strided_conv2d(x, weight, bias)
            gelu(x)
        here = out[token_ends[chunk] - tokens : token_ends[chunk]]
        project(x.transpose(2, 0, 1)[:tokens].reshape(tokens, width), here)
        here += positions[:tokens]

    in_parallel(convolve, range(len(chunk_lengths)))
    return out


def encode_audio(encoder: Any, parts: Parts, x: np.ndarray, segment_lengths: Sequence[int]) -> np.ndarray:
    """x: (tokens, d_model), changed. (tokens, output_dim)."""
    function = activation(encoder.config.activation_function)
    for index, cell in enumerate(encoder.layers):
        parts(f"layer.{index}", _audio_layer, cell, function)(x, segment_lengths)
    return _mlp(LayerNorm(encoder.ln_post)(x), Linear(encoder.proj1), function, Linear(encoder.proj2))


def embed_patches(encoder: Any, patches: np.ndarray, corners: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """patches: (patches, channels * temporal_patch * patch * patch). corners, shares: (4, patches), rows of the learned
    position table and their interpolation weights. (patches, hidden)."""
    weight = float32_array(encoder.patch_embed.proj.weight)
    out = patches @ weight.reshape(len(weight), -1).T
    out += float32_array(encoder.patch_embed.proj.bias)
    positions = float32_array(encoder.pos_embed.weight)
    for places, share in zip(corners, shares, strict=True):
        out += positions[places] * share[:, None]
    return out


def encode_vision(
    encoder: Any, parts: Parts, x: np.ndarray, segment_lengths: Sequence[int], rotary: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """x: (patches, hidden), changed; rotary: as of EncoderLayer. (tokens, out_hidden), and one such array for each
    deepstack layer."""
    function, deepstack = activation(encoder.config.hidden_act), []
    for index, cell in enumerate(encoder.blocks):
        parts(f"layer.{index}", _vision_layer, cell, function)(x, segment_lengths, rotary)
        if index in encoder.deepstack_visual_indexes:
            deepstack.append(_merge(encoder.merger_list[encoder.deepstack_visual_indexes.index(index)], x))
    return _merge(encoder.merger, x), deepstack


def _audio_layer(cell: Any, function: Any) -> EncoderLayer:
    attention = cell.self_attn
    return EncoderLayer(
        [LayerNorm(cell.self_attn_layer_norm), LayerNorm(cell.final_layer_norm)],
        [Linear(part) for part in (attention.q_proj, attention.k_proj, attention.v_proj)],
        Linear(attention.out_proj),
        (Linear(cell.fc1), function, Linear(cell.fc2)),
        attention.num_heads,
        attention.scaling,
    )


def _vision_layer(cell: Any, function: Any) -> EncoderLayer:
    return EncoderLayer(
        [LayerNorm(cell.norm1), LayerNorm(cell.norm2)],
        [Linear(cell.attn.qkv)],
        Linear(cell.attn.proj),
        (Linear(cell.mlp.linear_fc1), function, Linear(cell.mlp.linear_fc2)),
        cell.attn.num_heads,
        cell.attn.scaling,
    )


def _merge(cell: Any, x: np.ndarray) -> np.ndarray:
    """Qwen3OmniMoeVisionPatchMerger: patches of one token side by side, normalised before or after that."""
    norm = LayerNorm(cell.ln_q)
    x = norm(x.reshape(-1, norm.weight.size)).reshape(-1, cell.hidden_size)
    return _mlp(x, Linear(cell.mlp[0]), gelu, Linear(cell.mlp[2]))


def _mlp(x: np.ndarray, widen: Linear, function: Any, narrow: Linear) -> np.ndarray:
    out = np.empty((len(x), narrow.weight.shape[1]), np.float32)

    def part(rows: tuple[int, int]) -> None:
        inner = widen(x[slice(*rows)])
        function(inner)
        narrow(inner, out[slice(*rows)])

    in_parallel(part, row_parts(len(x)))
    return out
