"""A decoder's weights out of a checkpoint, experts stacked and projections joined: few, large tensors a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ms_omni.runtime.decoder_spec import DecoderSpec


def layer_weights(
    reader: Any, prefix: str, index: int, spec: DecoderSpec, operators: Any, dtype: Any, experts: range
) -> dict[str, np.ndarray]:
    """The arrays of layer `index` in numpy dtype `dtype`. reader: a CheckpointReader, or a ShardedReader, whose slices
    then give the sizes; prefix: "thinker.model."; experts: those to read.

    norm_post: (hidden,). q_norm, k_norm: (head_dim,). qkv: ((heads + 2 kv_heads) * head_dim, hidden). o: (hidden,
    heads * head_dim), and with biases qkv_bias and o_bias of their first axes. Experts: router (experts, hidden),
    gate_up (experts, 2 * intermediate, hidden) and down (experts, hidden, intermediate) as the device's `pack_experts`
    wants them. A dense or shared one: dense_gate_up (2 * intermediate, hidden), dense_down (hidden, intermediate), and
    shared_gate (1, hidden) for the latter."""

    read = _reading(reader, f"{prefix}layers.{index}.", dtype)
    weights = _small(read, spec, index) | {
        "qkv": read("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "o": read("self_attn.o_proj"),
    }
    if index in spec.dense_layers:
        return weights | _dense(read, "mlp.")
    gate_up = stacked(
        len(experts), lambda i: read(*(f"mlp.experts.{experts[i]}.{n}" for n in ("gate_proj", "up_proj")))
    )
    down = stacked(len(experts), lambda i: read(f"mlp.experts.{experts[i]}.down_proj"))
    weights["gate_up"], weights["down"] = operators.pack_experts(gate_up, down)
    if spec.shared_expert:
        weights |= _dense(read, "mlp.shared_expert.")
    return weights


def small_weights(reader: Any, prefix: str, index: int, spec: DecoderSpec, dtype: Any) -> dict[str, np.ndarray]:
    """Of `layer_weights`, those that every rank has whole: norms, router, biases, shared_gate."""
    return _small(_reading(reader, f"{prefix}layers.{index}.", dtype), spec, index)


def _small(read: Any, spec: DecoderSpec, index: int) -> dict[str, np.ndarray]:
    weights = {
        "norm_post": read("post_attention_layernorm"),
        "q_norm": read("self_attn.q_norm"),
        "k_norm": read("self_attn.k_norm"),
    }
    if spec.has_bias:
        weights["qkv_bias"] = read("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", kind="bias")
        weights["o_bias"] = read("self_attn.o_proj", kind="bias")
    if index not in spec.dense_layers:
        weights["router"] = read("mlp.gate")
        if spec.shared_expert:
            weights["shared_gate"] = read("mlp.shared_expert_gate")
    return weights


def _reading(reader: Any, prefix: str, dtype: Any) -> Any:
    def read(*names: str, kind: str = "weight") -> np.ndarray:
        full_names = [f"{prefix}{name}.{kind}" for name in names]
        joined = np.concatenate([reader.read(name) for name in full_names], axis=0).astype(dtype, copy=False)
        for name in full_names:
            reader.release(name)
        return joined

    return read


def stacked(count: int, read: Callable[[int], np.ndarray]) -> np.ndarray:
    """(count, ...) of what `read` gives for 0, 1, ...: one of them is held beside it, not all."""
    first = read(0)
    out = np.empty((count, *first.shape), first.dtype)
    out[0] = first
    for i in range(1, count):
        out[i] = read(i)
    return out


def _dense(read: Any, prefix: str) -> dict[str, np.ndarray]:
    return {
        "dense_gate_up": read(f"{prefix}gate_proj", f"{prefix}up_proj"),
        "dense_down": read(f"{prefix}down_proj"),
    }
