"""Lengths in Code2Wav: samples of a frame, the reach of convolutions, and which pieces are decoded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def samples_per_frame(config: Any) -> int:
    """24 000 Hz / 12.5 frames a second = 1920 in the released model: the product of all upsampling factors."""
    return int(np.prod(list(config.upsample_rates) + list(config.upsampling_ratios)))


def missing_tail_samples(config: Any) -> int:
    """Samples by which the wave of T frames is shorter than T * samples_per_frame (555 in the released model).

    Each transposed convolution with kernel 2 * rate drops `rate` samples at either end, so its output starts one input
    step late: it needs the next input step, which the end of the speech does not have."""
    missing = 0
    for rate in config.upsample_rates:
        missing = missing * rate + rate
    return missing


def convolution_context_frames(config: Any) -> int:
    """Frames before a sample that the convolutions behind the transformer look at, rounded up."""
    context, steps_per_frame = 0.0, 1
    for ratio in config.upsampling_ratios:
        steps_per_frame *= ratio
        context += 6 / steps_per_frame  # depthwise convolution, kernel 7
    context += 6 / steps_per_frame  # first convolution of the decoder, kernel 7
    for rate in config.upsample_rates:
        context += 1 / steps_per_frame  # transposed convolution, two input steps an output
        steps_per_frame *= rate
        context += 6 * (1 + 3 + 9) / steps_per_frame  # three residual units, kernel 7, dilations 1, 3, 9
    return int(np.ceil(context + 6 / steps_per_frame)) + 1


def together(lengths: Sequence[int], context: int, most: int) -> Iterator[list[int]]:
    """Yields groups of pieces, by their numbers, that are decoded in one call; pieces of similar length go together.
    lengths: frames of each piece. Padded to its longest, and with `context` frames before each piece, a call has no
    more frames than one piece of `most`; a longer piece is alone."""
    waiting = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    while waiting:
        count = max(1, (context + most) // (context + lengths[waiting[0]]))
        yield waiting[:count]
        waiting = waiting[count:]
