"""The Thinker for training: the architecture of transformers 4.57.1, on packed batches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from layers import DecoderLayer, Experts, RMSNorm, mrope, packed_attention, rotate
from render import patch_index
from torch import nn


def _starts(lengths: torch.Tensor) -> torch.Tensor:
    return F.pad(torch.cumsum(lengths, 0), (1, 0)).to(torch.int32)


class AudioAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor, starts: torch.Tensor, longest: int) -> torch.Tensor:
        q, k, v = (proj(x).unflatten(-1, (self.heads, -1)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(packed_attention(q, k, v, starts, longest, causal=False))


class AudioLayer(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        width = config.d_model
        self.self_attn = AudioAttention(width, config.encoder_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, config.encoder_ffn_dim), nn.Linear(config.encoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, starts: torch.Tensor, longest: int) -> torch.Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), starts, longest)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class AudioTower(nn.Module):
    """Chunks of 1 s through three convolutions, then attention within windows of 8 s."""

    def __init__(self, config: Any):
        super().__init__()
        width, channels = config.d_model, config.downsample_hidden_size
        self.layers = nn.ModuleList(AudioLayer(config) for _ in range(config.encoder_layers))
        self.ln_post = nn.LayerNorm(width)
        self.conv2d1 = nn.Conv2d(1, channels, 3, 2, padding=1)
        self.conv2d2 = nn.Conv2d(channels, channels, 3, 2, padding=1)
        self.conv2d3 = nn.Conv2d(channels, channels, 3, 2, padding=1)
        self.conv_out = nn.Linear(channels * 16, width, bias=False)
        self.proj1, self.proj2 = nn.Linear(width, width), nn.Linear(width, config.output_dim)
        self.window = config.n_window_infer // (2 * config.n_window) * 13
        scale = torch.exp(-torch.log(torch.tensor(10000.0)) / (width // 2 - 1) * torch.arange(width // 2))
        time = torch.arange(13)[:, None] * scale
        self.register_buffer("place", torch.cat([time.sin(), time.cos()], 1), persistent=False)

    def forward(self, mel: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """mel (sum of frames, 128), frames (clips,) -> (tokens, output_dim), tokens of each clip (clips,)."""
        chunks = (frames + 99) // 100
        clip = torch.repeat_interleave(torch.arange(len(frames), device=mel.device), chunks)
        number = torch.arange(len(clip), device=mel.device) - (torch.cumsum(chunks, 0) - chunks)[clip]
        lengths = torch.minimum(frames[clip] - 100 * number, torch.full_like(clip, 100))
        first = torch.cumsum(lengths, 0) - lengths
        time = torch.arange(100, device=mel.device)
        inside = time < lengths[:, None]
        x = torch.where(inside[..., None], mel[(first[:, None] + time).clamp_max(len(mel) - 1)], 0.0)
        x = x.transpose(1, 2)[:, None]  # (chunks, 1, mel, time)
        # A clip of less than a second is convolved without anything behind it, the last chunk of a longer one is
        # padded to a whole second first: what the padding becomes reaches the last tokens.
        edge = torch.where(chunks[clip] == 1, lengths, 100)
        for conv in (self.conv2d1, self.conv2d2, self.conv2d3):
            x = F.gelu(conv(x))
            lengths, edge = (lengths - 1) // 2 + 1, (edge - 1) // 2 + 1
            x = x * (torch.arange(x.shape[-1], device=x.device) < edge[:, None])[:, None, None]
        x = self.conv_out(x.permute(0, 3, 1, 2).flatten(2)) + self.place
        keep = torch.arange(13, device=x.device) < lengths[:, None]
        x = x[keep]
        tokens = torch.zeros_like(frames).scatter_add(0, clip, lengths)
        windows = (tokens + self.window - 1) // self.window
        of = torch.repeat_interleave(torch.arange(len(tokens), device=x.device), windows)
        index = torch.arange(len(of), device=x.device) - (torch.cumsum(windows, 0) - windows)[of]
        starts = _starts(torch.minimum(tokens[of] - index * self.window, torch.full_like(of, self.window)))
        for layer in self.layers:
            x = layer(x, starts, self.window)
        return self.proj2(F.gelu(self.proj1(self.ln_post(x)))), tokens


class Merger(nn.Module):
    def __init__(self, config: Any, after: bool):
        super().__init__()
        self.merged, self.after = config.hidden_size * 4, after
        self.ln_q = nn.LayerNorm(self.merged if after else config.hidden_size, eps=1e-6)
        self.mlp = nn.ModuleList(
            [nn.Linear(self.merged, self.merged), nn.GELU(), nn.Linear(self.merged, config.out_hidden_size)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.ln_q(x.view(-1, self.merged)) if self.after else self.ln_q(x).view(-1, self.merged)
        for layer in self.mlp:
            x = layer(x)
        return x


class VisionAttention(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.heads = config.num_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, starts: torch.Tensor, longest: int
    ) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        return self.proj(packed_attention(q, k, v, starts, longest, causal=False))


class VisionMlp(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.linear_fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.linear_fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear_fc2(F.gelu(self.linear_fc1(x), approximate="tanh"))


class VisionBlock(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(config.hidden_size, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = VisionAttention(config), VisionMlp(config)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, starts: torch.Tensor, longest: int
    ) -> torch.Tensor:
        x = x + self.attn(self.norm1(x), cos, sin, starts, longest)
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        size = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(3, config.hidden_size, size, stride=size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.proj.weight.flatten(1), self.proj.bias)


class VisionTower(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.merger_list = nn.ModuleList(Merger(config, after=True) for _ in config.deepstack_visual_indexes)
        self.patch_embed = PatchEmbed(config)
        self.pos_embed = nn.Embedding(config.num_position_embeddings, config.hidden_size)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.depth))
        self.merger = Merger(config, after=False)

    def _place(
        self, grids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, unit: torch.Tensor
    ) -> torch.Tensor:
        """Learnt position embeddings, stretched over the whole picture whatever its size (bilinear)."""
        side = int(self.config.num_position_embeddings**0.5)
        out = 0.0
        y = rows * ((side - 1) / (grids[unit, 0] - 1).clamp_min(1).float())
        x = columns * ((side - 1) / (grids[unit, 1] - 1).clamp_min(1).float())
        y0, x0 = y.floor().long(), x.floor().long()
        for dy, wy in ((0, 1 - (y - y0)), (1, y - y0)):
            for dx, wx in ((0, 1 - (x - x0)), (1, x - x0)):
                index = (y0 + dy).clamp_max(side - 1) * side + (x0 + dx).clamp_max(side - 1)
                out = out + self.pos_embed(index) * (wy * wx)[:, None]
        return out  # type: ignore[return-value]

    def forward(
        self, patches: torch.Tensor, grids: torch.Tensor, longest: int
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """patches (P, 1536), grids (units, 2) -> (P / 4, out_hidden_size) and the same for each deepstack layer."""
        unit, rows, columns = patch_index(grids)
        x = self.patch_embed(patches)
        x = x + self._place(grids, rows, columns, unit).to(x.dtype)
        quarter = self.config.hidden_size // self.config.num_heads // 4
        inverse = 1.0 / 10000.0 ** (torch.arange(quarter, device=x.device).float() / quarter)
        angles = torch.cat([rows[:, None] * inverse, columns[:, None] * inverse], 1)
        cos, sin = angles.cos(), angles.sin()
        starts = _starts(grids[:, 0] * grids[:, 1])
        deep = []
        for index, block in enumerate(self.blocks):
            x = block(x, cos, sin, starts, longest)
            if index in self.config.deepstack_visual_indexes:
                deep.append(self.merger_list[self.config.deepstack_visual_indexes.index(index)](x))
        return self.merger(x), deep


class TextModel(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, Experts(config)) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        x: torch.Tensor,
        positions: torch.Tensor,
        starts: torch.Tensor,
        longest: int,
        seen: torch.Tensor,
        deep: list[torch.Tensor],
        keep: int = -1,
    ) -> tuple[torch.Tensor, Any]:
        """x (N, width); seen: indices of the pictures' tokens, deep: what is added there after the first layers.
        Returns the normed output and, if `keep` is given, the input of layer `keep`."""
        config = self.config
        cos, sin = mrope(positions, config.head_dim, config.rope_theta, config.rope_scaling["mrope_section"])
        kept = None
        for index, layer in enumerate(self.layers):
            if index == keep:
                kept = x
            x = layer(x, cos, sin, starts, longest)
            if index < len(deep):
                x = x.index_add(0, seen, deep[index].to(x.dtype))
        return self.norm(x), kept


class Thinker(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.audio_tower = AudioTower(config.audio_config)
        self.visual = VisionTower(config.vision_config)
        self.model = TextModel(config.text_config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)

    def forward(
        self,
        b: dict[str, torch.Tensor],
        patches: torch.Tensor | None,
        mel: torch.Tensor | None,
        longest: tuple[int, int],
        keep: int = -1,
    ) -> dict[str, Any]:
        """b: a batch of packing.py; longest: sequence, and picture in patches. Returns hidden (N, width), seen and
        heard (the encoders' outputs), clip_tokens, kept, embedded (the text embeddings)."""
        embedded = self.model.embed_tokens(b["ids"])
        x = embedded
        seen_at, heard_at = (torch.nonzero(b["kinds"] == kind).squeeze(1) for kind in (1, 2))
        out: dict[str, Any] = {"embedded": embedded, "seen": None, "heard": None}
        deep: list[torch.Tensor] = []
        if patches is not None:
            out["seen"], deep = self.visual(patches, b["unit_grids"], longest[1])
            x = x.index_copy(0, seen_at, out["seen"].to(x.dtype))
        if mel is not None:
            out["heard"], out["clip_tokens"] = self.audio_tower(mel, b["clip_frames"])
            x = x.index_copy(0, heard_at, out["heard"].to(x.dtype))
        out["hidden"], out["kept"] = self.model(
            x, b["positions"], b["starts"].to(torch.int32), longest[0], seen_at, deep, keep
        )
        return out
