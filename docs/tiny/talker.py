"""The Talker and its code predictor for training: the architecture of transformers 4.57.1, on packed sequences."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from layers import DecoderLayer, Experts, Mlp, RMSNorm, mrope
from torch import nn


class Projection(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        inner = config.text_config.intermediate_size
        self.linear_fc1 = nn.Linear(config.thinker_hidden_size, inner)
        self.linear_fc2 = nn.Linear(inner, config.text_config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear_fc2(F.silu(self.linear_fc1(x)))


class TalkerModel(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.codec_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, Experts(config)) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: torch.Tensor, positions: torch.Tensor, starts: torch.Tensor, longest: int) -> torch.Tensor:
        config = self.config
        cos, sin = mrope(positions, config.head_dim, config.rope_theta, config.rope_scaling["mrope_section"])
        for layer in self.layers:
            x = layer(x, cos, sin, starts, longest)
        return self.norm(x)


class PredictorModel(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.codec_embedding = nn.ModuleList(
            nn.Embedding(config.vocab_size, config.hidden_size) for _ in range(config.num_code_groups - 1)
        )
        self.layers = nn.ModuleList(
            DecoderLayer(config, Mlp(config.hidden_size, config.intermediate_size))
            for _ in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (frames, steps, width)."""
        count, steps = x.shape[:2]
        positions = torch.arange(steps, device=x.device).repeat(count).expand(3, -1)
        half = self.config.head_dim // 2
        cos, sin = mrope(positions, self.config.head_dim, self.config.rope_theta, [half, 0, 0])
        starts = torch.arange(count + 1, device=x.device, dtype=torch.int32) * steps
        y = x.flatten(0, 1)
        for layer in self.layers:
            y = layer(y, cos, sin, starts, steps)
        return self.norm(y).view_as(x)


class CodePredictor(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.model = PredictorModel(config)
        self.lm_head = nn.ModuleList(
            nn.Linear(config.hidden_size, config.vocab_size, bias=False) for _ in range(config.num_code_groups - 1)
        )


class Talker(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.model = TalkerModel(config.text_config)
        self.text_projection, self.hidden_projection = Projection(config), Projection(config)
        self.codec_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.code_predictor = CodePredictor(config.code_predictor_config)

    def frame_embedding(self, codes: torch.Tensor) -> torch.Tensor:
        """codes (N, groups) -> (N, width): the sum that a frame is fed back as."""
        out = self.model.codec_embedding(codes[:, 0])
        for group, embedding in enumerate(self.code_predictor.model.codec_embedding):
            out = out + embedding(codes[:, group + 1])
        return out

    def residual_logits(self, hidden: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Teacher-forced: hidden (N, width) that predicted codes[:, 0] -> logits (N, groups - 1, codes)."""
        predictor = self.code_predictor
        inputs = [hidden, self.model.codec_embedding(codes[:, 0])]
        inputs += [table(codes[:, group + 1]) for group, table in enumerate(predictor.model.codec_embedding[:-1])]
        out = predictor.model(torch.stack([x.to(hidden.dtype) for x in inputs], 1))
        return torch.stack([head(out[:, group + 1]) for group, head in enumerate(predictor.lm_head)], 1)
