"""mindone 0.5.0's vision encoder, corrected: attention per picture and per frame whatever the attention kernel."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeVisionAttention,
    Qwen3OmniMoeVisionEncoder,
    Qwen3OmniMoeVisionPatchEmbed,
    apply_rotary_pos_emb_vision,
)
from mindspore import Tensor, mint, ops

from ms_omni import limits
from ms_omni.kernels.cpu_arrays import float32_array
from ms_omni.kernels.device import on_cpu
from ms_omni.models import encoders_cpu
from ms_omni.models.parts_cpu import Parts
from ms_omni.models.segments import attend_in_segments, attention_function, segment_groups, vision_segment_lengths


class VisionAttention(Qwen3OmniMoeVisionAttention):
    """Attends within `segment_lengths`; mindone's flash branch attends over all pictures and frames at once."""

    def construct(
        self,
        hidden_states: Tensor,
        *,
        position_embeddings: tuple[Tensor, Tensor],
        segment_lengths: list[int],
        **_: Any,
    ) -> Tensor:
        """hidden_states: (patches, hidden). Returns the same shape."""
        patches = hidden_states.shape[0]
        qkv = self.qkv(hidden_states).reshape(patches, 3, self.num_heads, self.head_dim)
        query, key = apply_rotary_pos_emb_vision(qkv[:, 0], qkv[:, 1], *position_embeddings)
        query, key, value = (x.swapaxes(0, 1).unsqueeze(0) for x in (query, key, qkv[:, 2]))
        out = attend_in_segments(
            attention_function(self.config), self, query, key, value, segment_lengths, self.scaling
        )
        return self.proj(out.reshape(patches, self.dim))


class VisionPatchEmbed(Qwen3OmniMoeVisionPatchEmbed):
    """The patch convolution as the matrix product it is: its stride equals its kernel, so no patches overlap."""

    def construct(self, hidden_states: Tensor) -> Tensor:
        """hidden_states: (patches, channels * temporal_patch * patch * patch). Returns (patches, hidden)."""
        weight = self.proj.weight.reshape(self.embed_dim, -1)
        return mint.nn.functional.linear(hidden_states.astype(weight.dtype), weight, self.proj.bias)


class VisionEncoder(Qwen3OmniMoeVisionEncoder):
    """Computes positions and segment lengths on the host from the grid, once per call, without device syncs. Pictures
    and frames see only themselves, so they go through all layers in groups, one after the other."""

    def construct(self, hidden_states: Tensor, grid_thw: np.ndarray, **_: Any) -> tuple[Tensor, list[Tensor]]:
        """hidden_states: (patches, channels * temporal_patch * patch * patch); grid_thw: int, (num_media, 3), on the
        host. Returns (tokens, out_hidden) and one such tensor for each deepstack layer; 4 patches make a token."""
        frames = [[1, h, w] for t, h, w in np.asarray(grid_thw).reshape(-1, 3).tolist() for _ in range(t)]
        outputs, done = [], 0
        for start, end, lengths in segment_groups(vision_segment_lengths(grid_thw), limits.ROWS_PER_GROUP):
            group = np.array(frames[done : done + len(lengths)], dtype=np.int64)
            outputs.append(self._encode(hidden_states[start:end], group, lengths))
            done += len(lengths)
        if len(outputs) == 1:
            return outputs[0]
        deepstack = [mint.cat(levels, dim=0) for levels in zip(*(levels for _, levels in outputs), strict=True)]
        return mint.cat([features for features, _ in outputs], dim=0), deepstack

    @cached_property
    def _parts(self) -> Parts:
        return Parts(self)

    def _encode(self, patches: Tensor, grid_thw: np.ndarray, segment_lengths: list[int]) -> tuple[Tensor, list[Tensor]]:
        """As `construct`, for one group."""
        angles = self._rotary_angles(grid_thw)
        if on_cpu():
            hidden = encoders_cpu.embed_patches(self, float32_array(patches), *self._corners(grid_thw))
            rotary = (np.cos(angles), np.sin(angles))
            features, levels = encoders_cpu.encode_vision(self, self._parts, hidden, segment_lengths, rotary)
            return Tensor.from_numpy(features), [Tensor.from_numpy(level) for level in levels]
        hidden = self.patch_embed(patches)
        hidden = hidden + self._position_embedding(grid_thw, hidden.dtype)
        position_embeddings = (Tensor(np.cos(angles)), Tensor(np.sin(angles)))
        deepstack = []
        for index, block in enumerate(self.blocks):
            hidden = block(hidden, None, position_embeddings=position_embeddings, segment_lengths=segment_lengths)
            if index in self.deepstack_visual_indexes:
                merger = self.merger_list[self.deepstack_visual_indexes.index(index)]
                deepstack.append(merger(hidden))
        return self.merger(hidden), deepstack

    def _rotary_angles(self, grid_thw: np.ndarray) -> np.ndarray:
        """float32, (patches, head_dim): row and column angles, twice."""
        head_dim = self.config.hidden_size // self.config.num_heads
        exponents = np.arange(0, head_dim // 2, 2, dtype=np.float32) / np.float32(head_dim // 2)
        inv_freq = np.float32(1.0) / np.float32(10_000.0) ** exponents
        rows, cols = self._patch_coordinates(grid_thw)
        half = np.concatenate([rows[:, None] * inv_freq, cols[:, None] * inv_freq], axis=1).astype(np.float32)
        return np.concatenate([half, half], axis=1)

    def _patch_coordinates(self, grid_thw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32 row and column of every patch, in the processor's order: merge blocks, then patches inside."""
        rows, cols = [], []
        for t, h, w in grid_thw.tolist():
            order = self._merge_order(h, w)
            rows.append(np.tile(order // w, t))
            cols.append(np.tile(order % w, t))
        return np.concatenate(rows).astype(np.float32), np.concatenate(cols).astype(np.float32)

    def _merge_order(self, h: int, w: int) -> np.ndarray:
        """Row-major patch numbers of one frame in the order of the processor."""
        m = self.spatial_merge_size
        return np.arange(h * w).reshape(h // m, m, w // m, m).transpose(0, 2, 1, 3).reshape(-1)

    def _position_embedding(self, grid_thw: np.ndarray, dtype: Any) -> Tensor:
        """(patches, hidden): the learned square grid of embeddings, interpolated bilinearly to every picture's grid."""
        index, weights = self._corners(grid_thw)
        rows = ops.gather(self.pos_embed.weight, Tensor(index.reshape(-1)), 0)
        rows = rows.reshape(4, index.shape[1], -1)
        rows = rows * Tensor(weights).astype(dtype).unsqueeze(-1)
        return rows[0] + rows[1] + rows[2] + rows[3]

    def _corners(self, grid_thw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The four points of the learned grid around every patch, int32 (4, patches), and their interpolation weights,
        float32."""
        side = self.num_grid_per_side
        indices, weights = [], []
        for t, h, w in grid_thw.tolist():
            order = self._merge_order(h, w)
            (y0, y1, dy), (x0, x1, dx) = _interpolate(h, side), _interpolate(w, side)
            corners = [(y0, 1 - dy, x0, 1 - dx), (y0, 1 - dy, x1, dx), (y1, dy, x0, 1 - dx), (y1, dy, x1, dx)]
            index = np.stack([(y[:, None] * side + x[None]).reshape(-1)[order] for y, _, x, _ in corners])
            weight = np.stack([(wy[:, None] * wx[None]).reshape(-1)[order] for _, wy, _, wx in corners])
            indices.append(np.tile(index, (1, t)))
            weights.append(np.tile(weight, (1, t)))
        return np.concatenate(indices, axis=1).astype(np.int32), np.concatenate(weights, axis=1).astype(np.float32)


def _interpolate(length: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper neighbour and float32 distance to the lower one, for `length` points evenly over `side`."""
    points = np.linspace(0, side - 1, length, dtype=np.float32)
    lower = points.astype(np.int64)
    return lower, np.minimum(lower + 1, side - 1), points - lower.astype(np.float32)
