"""Sampling on the CPU with random numbers of MindSpore's own generators, so that `ms.manual_seed` decides them."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor
from mindspore.common.generator import default_generator

from ms_omni.kernels.cpu_arrays import to_tensor

_STEP = 12  # what MindSpore's own random operators advance the generator's offset by


def _numpy_generator(generator: Any = None) -> np.random.Generator:
    """A numpy generator for one call: keyed by the seed and offset of MindSpore's, which moves on."""
    generator = generator or default_generator
    state = _state(generator)
    if generator is default_generator and not state.any() and not generator._generator.attrs["manual_seed"]:
        generator.seed()  # from MindSpore 2.8 on its own begins with 0 in every process, as if that had been asked for
        state = _state(generator)
    seed, offset = state.tolist()
    # on the CPU `Generator._step` of 2.7 returns the offset without moving it on: every draw would be the same
    generator.set_state(Tensor.from_numpy(np.array([seed, offset + _STEP]).view(np.uint8)))
    # the offset goes into the second counter word, so two calls never share a stretch of the stream
    return np.random.Generator(np.random.Philox(key=seed % 2**64, counter=[0, offset % 2**64, 0, 0]))


def _state(generator: Any) -> np.ndarray:
    """Seed and offset, int64 (2,). The Parameters of those names are not what counts from MindSpore 2.8 on."""
    return np.frombuffer(generator.get_state().asnumpy().tobytes(), np.int64)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """Indices drawn by weight. input: (categories,) or (rows, categories), weights not negative, rows not all zero.

    Returns int64 (num_samples,) or (rows, num_samples). Raises ValueError for invalid weights or too many samples.
    """
    weights = input.asnumpy().astype(np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any() or not (weights.sum(-1) > 0).all():
        raise ValueError("multinomial: weights must be finite, not negative, and not all zero in a row")
    draw = _numpy_generator(generator)
    if replacement:
        cumulative = np.cumsum(weights, -1)
        points = draw.random((*weights.shape[:-1], num_samples)) * cumulative[..., -1:]
        # a point belongs to the first category whose cumulative weight exceeds it
        chosen = (points[..., :, None] >= cumulative[..., None, :]).sum(-1)
    else:
        if num_samples > np.count_nonzero(weights, -1).min():
            raise ValueError(f"multinomial: {num_samples} samples without replacement need as many positive weights")
        # exponential race: the smallest of Exp(1)/weight is drawn by weight, the next ones without replacement
        with np.errstate(divide="ignore"):
            arrivals = draw.exponential(size=weights.shape) / weights
        one = num_samples == 1  # the usual case needs no sorting
        chosen = arrivals.argmin(-1)[..., None] if one else np.argsort(arrivals, -1)[..., :num_samples]
    return to_tensor(chosen, ms.int64)
