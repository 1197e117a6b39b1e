"""What the encoders and the decoders of the training model share: attention over packed sequences, norms, experts.

The modules carry the weight names of the Hugging Face checkpoint; all experts of a layer lie in one array here."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def packed_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, starts: torch.Tensor, longest: int, causal: bool
) -> torch.Tensor:
    """q, k, v (N, heads, head_dim) of sequences that begin at `starts` (sequences + 1,) -> (N, heads * head_dim)."""
    if q.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        window = (-1, 0) if causal else (-1, -1)
        try:
            out = varlen_attn(q, k, v, starts, starts, longest, longest, window_size=window)
        except TypeError:  # older signature
            out = varlen_attn(q, k, v, starts, starts, longest, longest, causal)
        return out.flatten(1)
    out = torch.empty_like(q)
    bounds = starts.tolist()
    for first, last in itertools.pairwise(bounds):
        inputs = (x[first:last].transpose(0, 1)[None] for x in (q, k, v))
        out[first:last] = F.scaled_dot_product_attention(*inputs, is_causal=causal)[0].transpose(0, 1)
    return out.flatten(1)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x (N, heads, head_dim); cos, sin (N, head_dim / 2): rotary position embedding in halves, float32 inside."""
    a, b = x.float().chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps).to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention with normed queries and keys, as Thinker and Talker have it."""

    def __init__(self, config: Any, norm: bool = True):
        super().__init__()
        width, self.head_dim = config.hidden_size, config.head_dim
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.q_proj = nn.Linear(width, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(width, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(width, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, width, bias=False)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if norm else nn.Identity()
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if norm else nn.Identity()

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, starts: torch.Tensor, longest: int
    ) -> torch.Tensor:
        q = self.q_norm(self.q_proj(x).unflatten(-1, (self.heads, self.head_dim)))
        k = self.k_norm(self.k_proj(x).unflatten(-1, (self.kv_heads, self.head_dim)))
        v = self.v_proj(x).unflatten(-1, (self.kv_heads, self.head_dim))
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        groups = self.heads // self.kv_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        return self.o_proj(packed_attention(q, k, v, starts, longest, causal=True))


class Mlp(nn.Module):
    """down(silu(gate(x)) * up(x))"""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    """Sparse experts, computed densely: every expert on every token, times a weight that is 0 for those not chosen.
    For a few tiny experts two large products are faster than any routing. `balance`: the load-balancing loss of the
    last call (transformers load_balancing_loss_func), 1 when all are used alike."""

    def __init__(self, config: Any):
        super().__init__()
        self.number, self.chosen = config.num_experts, config.num_experts_per_tok
        width, inner = config.hidden_size, config.moe_intermediate_size
        self.gate = nn.Linear(width, self.number, bias=False)
        self.gate_proj = nn.Parameter(torch.empty(self.number, inner, width))
        self.up_proj = nn.Parameter(torch.empty(self.number, inner, width))
        self.down_proj = nn.Parameter(torch.empty(self.number, width, inner))
        shared = getattr(config, "shared_expert_intermediate_size", 0)
        self.shared_expert = Mlp(width, shared) if shared else None
        self.shared_expert_gate = nn.Linear(width, 1, bias=False) if shared else None
        self.balance = torch.zeros(())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            scores = F.softmax(F.linear(x.float(), self.gate.weight), -1)
            best, index = scores.topk(self.chosen, -1)
            weights = torch.zeros_like(scores).scatter(-1, index, best / best.sum(-1, keepdim=True))
        used = (weights.detach() > 0).float().mean(0)
        self.balance = self.number * (used * scores.mean(0)).sum() / self.chosen
        inner = F.silu(F.linear(x, self.gate_proj.flatten(0, 1))) * F.linear(x, self.up_proj.flatten(0, 1))
        inner = (inner.unflatten(-1, (self.number, -1)) * weights.to(inner.dtype)[..., None]).flatten(-2)
        out = F.linear(inner, self.down_proj.permute(1, 0, 2).flatten(1))
        if self.shared_expert is not None:
            out = out + torch.sigmoid(self.shared_expert_gate(x)) * self.shared_expert(x)
        return out


class DecoderLayer(nn.Module):
    def __init__(self, config: Any, mlp: nn.Module):
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = mlp
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, starts: torch.Tensor, longest: int
    ) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, starts, longest)
        return x + self.mlp(self.post_attention_layernorm(x))


def mrope(
    positions: torch.Tensor, head_dim: int, theta: float, section: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin (N, head_dim / 2) of positions (3, N): height and width take turns with time (interleaved)."""
    inverse = 1.0 / theta ** (torch.arange(0, head_dim, 2, device=positions.device).float() / head_dim)
    angles = positions.float()[..., None] * inverse
    out = angles[0].clone()
    for axis, offset in ((1, 1), (2, 2)):
        out[:, offset : section[axis] * 3 : 3] = angles[axis][:, offset : section[axis] * 3 : 3]
    return out.cos(), out.sin()


def hf_state(module: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    """Weights under the names of the Hugging Face checkpoint."""
    out = {}
    for name, value in module.state_dict().items():
        parts = name.split(".")
        if value.ndim == 3 and parts[-2] == "mlp" and parts[-1] in ("gate_proj", "up_proj", "down_proj"):
            for expert, weight in enumerate(value):
                out[".".join([prefix, *parts[:-1], "experts", str(expert), parts[-1], "weight"])] = weight
        else:
            out[f"{prefix}.{name}"] = value
    return out


def from_hf_state(module: nn.Module, prefix: str, weights: dict[str, torch.Tensor]) -> None:
    """The reverse of `hf_state`: every weight of `module` must be there."""
    own = {}
    for name, value in module.state_dict().items():
        parts = name.split(".")
        if value.ndim == 3 and parts[-2] == "mlp" and parts[-1] in ("gate_proj", "up_proj", "down_proj"):
            root = ".".join([prefix, *parts[:-1], "experts"])
            own[name] = torch.stack([weights[f"{root}.{e}.{parts[-1]}.weight"] for e in range(len(value))])
        else:
            own[name] = weights[f"{prefix}.{name}"]
    module.load_state_dict(own)


def initialise(module: nn.Module, seed: int) -> None:
    """Normal weights of deviation 1 / sqrt(fan in); smaller where a residual branch ends."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            continue
        fan_in = parameter[0].numel() if parameter.ndim != 3 or "mlp" not in name else parameter.shape[-1]
        gain = 0.4 if any(end in name for end in ("o_proj", "down_proj", "fc2", "out_proj", "attn.proj")) else 0.8
        std = gain * fan_in**-0.5
        if "embed" in name and "patch_embed" not in name:
            std = 0.3
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
