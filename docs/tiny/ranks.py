"""Several processes that train one model, a GPU each: started by torchrun, alone without it."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn


class Ranks:
    """number, count: of this process, of all. kind: cuda or cpu; device: its own."""

    def __init__(self, kind: str):
        self.number, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.kind, self.device = kind, kind
        if kind == "cuda":
            self.device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
            torch.cuda.set_device(self.device)
        if self.count > 1:
            dist.init_process_group("nccl" if kind == "cuda" else "gloo")

    @property
    def is_first(self) -> bool:
        return self.number == 0

    def average(self, parameters: Iterable[nn.Parameter], value: float) -> float:
        """Averages the gradients over all ranks in place; returns the average of `value`, the same on every rank."""
        if self.count == 1:
            return value
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in learning:
            if parameter.grad is None:  # nothing of its kind in this rank's batch
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in learning if parameter.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), gradients[0].new_tensor([value])])
        dist.all_reduce(flat)
        flat /= self.count
        pieces = flat[:-1].split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=False):
            gradient.copy_(piece.view_as(gradient))
        return float(flat[-1])

    def close(self) -> None:
        if self.count > 1:
            dist.destroy_process_group()
