"""Flash attention as the encoders use it: every patch attends to its own segment only."""

from __future__ import annotations

from types import SimpleNamespace

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.acceptance import formulas
from ms_omni.acceptance.bench import random
from ms_omni.acceptance.compare import array_of, close
from ms_omni.acceptance.findings import Finding
from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.models.segments import attend_in_segments, attention_function

SEGMENTS = [104, 104, 52]  # equal ones are computed together


def encoder_attention(heads: int, dim: int, dtype: str, allowed: float) -> Finding:
    """Compares it with numpy. heads, dim: 16 and 72 for pictures, 20 and 64 for sound. allowed: roundings."""
    shape = (1, heads, sum(SEGMENTS), dim)
    q, k, v = (random(name, *shape, dtype=numpy_dtype(getattr(ms, dtype))) for name in "qkv")
    config = SimpleNamespace(_attn_implementation="flash_attention_2")
    module = SimpleNamespace(
        config=config, is_causal=False, num_key_value_groups=1, training=False, layer_idx=0, num_heads=heads,
        head_dim=dim, scaling=dim**-0.5,
    )  # fmt: skip
    attention = attention_function(config)
    made = attend_in_segments(attention, module, Tensor(q), Tensor(k), Tensor(v), SEGMENTS, dim**-0.5)
    right, start = [], 0
    for length in SEGMENTS:
        part = slice(start, start + length)
        own_q, own_k, own_v = (array_of(x)[0, :, part].swapaxes(0, 1) for x in (q, k, v))
        right.append(formulas.attention(own_q, own_k, own_v, dim**-0.5, causal=False))
        start += length
    return close([(array_of(made)[0], np.concatenate(right))], dtype, allowed)
