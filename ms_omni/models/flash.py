"""`flash_attention_2` on a card: CANN's attention for inference, for both encoders and mindone's decoders.

mindone 0.5.0 calls flash_attention_score, CANN's attention for training, which CANN 8.3.RC1 documents neither for A3
nor for the inference cards of A2."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import Tensor, mint

from ms_omni.kernels import decoder_ops_ascend_primitives as primitives

HEAD_ALIGNMENT = 16  # CANN, aclnnPromptFlashAttentionV3: other head sizes for 128 sequences at most


def inference_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """query: (batch, heads, S, dim). key, value: (batch, kv_heads, N, dim). attention_mask: bool, broadcastable to
    (batch, 1, S, N), True where to attend, or None. If `module.is_causal`, the queries are the last positions. Returns
    (batch, S, heads, dim) and None. float32 is computed in float16, as in mindone."""
    batch, heads, num_queries, dim = query.shape
    kv_heads, num_keys = key.shape[1:3]
    half = query.dtype if query.dtype in (ms.float16, ms.bfloat16) else ms.float16
    q, k, v = (_aligned(x.astype(half)) for x in (query, key, value))
    is_causal = getattr(module, "is_causal", False) and num_queries > 1
    if is_causal and attention_mask is None:
        q, k, v = (x.swapaxes(1, 2).reshape(batch, x.shape[2], -1) for x in (q, k, v))
        out = primitives.causal_attention(q, k, v, heads, kv_heads, scaling)
        return out.reshape(batch, num_queries, heads, -1)[..., :dim].astype(query.dtype), None
    hidden = None
    if attention_mask is not None:
        hidden = mint.logical_not(attention_mask).broadcast_to((batch, 1, num_queries, num_keys))
        if is_causal:
            later = mint.triu(mint.ones((num_queries, num_keys), dtype=ms.bool_), num_keys - num_queries + 1)
            hidden = mint.logical_or(hidden, later)
    out = primitives.attention(q.contiguous(), k.contiguous(), v.contiguous(), hidden, heads, kv_heads, scaling)
    return out[..., :dim].swapaxes(1, 2).astype(query.dtype), None


def use_inference_attention() -> None:
    """Puts `inference_attention` in the place of mindone's flash attention."""
    from mindone.transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS["flash_attention_2"] = inference_attention


def _aligned(x: Tensor) -> Tensor:
    """Pads each head with zeros: they change no score, and the output gets the same number of zeros."""
    missing = -x.shape[-1] % HEAD_ALIGNMENT
    return mint.cat([x, mint.zeros((*x.shape[:-1], missing), dtype=x.dtype)], dim=-1) if missing else x
