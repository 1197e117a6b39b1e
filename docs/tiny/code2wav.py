"""Code2Wav for training: the architecture of transformers 4.57.1, on batches of equal length."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from layers import Mlp, RMSNorm, rotate
from torch import nn


class CausalConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, groups=groups)
        self.left = (kernel - 1) * dilation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.pad(x, (self.left, 0)))


class CausalTransposed(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int):
        super().__init__()
        self.conv = nn.ConvTranspose1d(inputs, outputs, kernel, stride)
        self.cut = kernel - stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return x[..., self.cut : x.shape[-1] - self.cut]


class ConvNeXt(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.dwconv = CausalConv(width, width, 7, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.norm(self.dwconv(x).transpose(1, 2))
        return x + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(inner)))).transpose(1, 2)


class Snake(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.alpha, self.beta = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        alpha, beta = self.alpha.exp()[:, None], self.beta.exp()[:, None]
        return x + torch.sin(x * alpha) ** 2 / (beta + 1e-9)


class ResidualUnit(nn.Module):
    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.act1, self.conv1 = Snake(width), CausalConv(width, width, 7, dilation)
        self.act2, self.conv2 = Snake(width), CausalConv(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(self.act2(self.conv1(self.act1(x))))


class DecoderBlock(nn.Module):
    def __init__(self, width: int, rate: int):
        super().__init__()
        out = width // 2
        first = [Snake(width), CausalTransposed(width, out, 2 * rate, rate)]
        self.block = nn.ModuleList([*first, *(ResidualUnit(out, dilation) for dilation in (1, 3, 9))])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.block:
            x = block(x)
        return x


class Scale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 0.1))


class WindowAttention(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        width = config.hidden_size
        self.heads, self.window = config.num_attention_heads, config.sliding_window
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.theta = config.rope_theta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, length = x.shape[:2]
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)) for p in (self.q_proj, self.k_proj, self.v_proj))
        half = q.shape[-1] // 2
        time = torch.arange(length, device=x.device).repeat(count).float()
        angles = time[:, None] / self.theta ** (torch.arange(half, device=x.device).float() / half)
        cos, sin = angles.cos(), angles.sin()
        q, k = (rotate(y.flatten(0, 1), cos, sin).view_as(y) for y in (q, k))
        distance = torch.arange(length, device=x.device)[:, None] - torch.arange(length, device=x.device)
        mask = (distance >= 0) & (distance < self.window)
        out = F.scaled_dot_product_attention(*(y.transpose(1, 2) for y in (q, k, v)), attn_mask=mask)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        width = config.hidden_size
        self.self_attn, self.mlp = WindowAttention(config), Mlp(width, config.intermediate_size)
        self.input_layernorm = RMSNorm(width, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(width, config.rms_norm_eps)
        self.self_attn_layer_scale, self.mlp_layer_scale = Scale(width), Scale(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn_layer_scale.scale * self.self_attn(self.input_layernorm(x))
        return x + self.mlp_layer_scale.scale * self.mlp(self.post_attention_layernorm(x))


class PreTransformer(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Code2Wav(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        width, dim = config.hidden_size, config.decoder_dim
        self.codebook = config.codebook_size
        self.pre_transformer = PreTransformer(config)
        self.code_embedding = nn.Embedding(config.codebook_size * config.num_quantizers, width)
        self.upsample = nn.ModuleList(
            nn.ModuleList([CausalTransposed(width, width, factor, factor), ConvNeXt(width)])
            for factor in config.upsampling_ratios
        )
        blocks = [DecoderBlock(dim >> index, rate) for index, rate in enumerate(config.upsample_rates)]
        last = dim >> len(blocks)
        self.decoder = nn.ModuleList([CausalConv(width, dim, 7), *blocks, Snake(last), CausalConv(last, 1, 7)])

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """codes (batch, frames, groups) -> (batch, 1920 * frames - 555), not clipped."""
        offset = torch.arange(codes.shape[-1], device=codes.device) * self.codebook
        x = self.pre_transformer(self.code_embedding(codes + offset).mean(2)).transpose(1, 2)
        for transposed, convnext in self.upsample:
            x = convnext(transposed(x))
        for block in self.decoder:
            x = block(x)
        return x[:, 0]
