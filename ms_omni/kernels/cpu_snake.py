"""Code2Wav's activation on a CPU in one pass: numpy's sine takes a twentieth of the time of MindSpore's there."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor


def snake_beta(x: Tensor, alpha: Tensor, beta: Tensor, eps: float) -> Tensor:
    """x + sin(x exp(alpha))^2 / (exp(beta) + eps). x: float32 (batch, channels, length); alpha, beta: float32
    (channels,)."""
    values = x.asnumpy()
    frequency, magnitude = (np.exp(parameter.asnumpy())[:, None] for parameter in (alpha, beta))
    wave = values * frequency
    np.sin(wave, out=wave)
    np.square(wave, out=wave)
    wave *= 1 / (magnitude + np.float32(eps))
    wave += values
    return Tensor.from_numpy(wave)
