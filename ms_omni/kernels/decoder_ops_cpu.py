"""Decoders on the CPU: layers in numpy (`numpy_blocks`), in graphs and for prompts, and tokens picked in numpy.

float32, whatever the model's dtype: numpy has no fast products of others."""

from __future__ import annotations

from typing import Any

import mindspore as ms

from ms_omni.kernels.decoder_ops_cpu_sampler import Sampler as Sampler
from ms_omni.kernels.decoder_ops_cpu_sampler import num_kept as num_kept
from ms_omni.kernels.decoder_ops_cpu_sampler import rows_of as rows_of

JIT_OPTIONS = {"jit_level": "O0"}
IN_NUMPY = True
ONE_TOKEN_A_GRAPH = False


def scale_dtype(quantize: str, dtype: Any) -> Any:
    """Of the scales of int8 weights, whichever way, for hidden states of `dtype`."""
    return ms.float32
