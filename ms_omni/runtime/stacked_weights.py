"""A decoder's weights out of a checkpoint, experts stacked and projections joined: few, large tensors a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ms_omni.checkpoint.parameters import device_tensor
from ms_omni.runtime.decoder_spec import DecoderSpec


def layer_weights(
    reader: Any, prefix: str, index: int, spec: DecoderSpec, operators: Any, dtype: Any, experts: range
) -> dict[str, Any]:
    """The arrays of layer `index` in numpy dtype `dtype`, the experts' as tensors on the device. reader: a
    CheckpointReader, or a ShardedReader, whose slices then give the sizes; prefix: "thinker.model."; experts: those to
    read.

    Matrices are (out, in) as in the checkpoint; where the layers are numpy's (kernels/numpy_math.py), (in, out), all of
    these shapes turned around.

    norm_post: (hidden,). q_norm, k_norm: (head_dim,). qkv: ((heads + 2 kv_heads) * head_dim, hidden). o: (hidden,
    heads * head_dim), and with biases qkv_bias and o_bias of their first axes. Experts: router (experts, hidden),
    gate_up (experts, 2 * intermediate, hidden) and down (experts, hidden, intermediate) as the device's `pack_experts`
    makes them. A dense or shared one: dense_gate_up (2 * intermediate, hidden), dense_down (hidden, intermediate), and
    shared_gate (1, hidden) for the latter."""

    read = Reading(reader, f"{prefix}layers.{index}.", dtype, operators.IN_NUMPY)
    weights: dict[str, Any] = _small(read, spec, index) | {
        "qkv": read("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "o": read("self_attn.o_proj"),
    }
    if index in spec.dense_layers:
        return weights | _dense(read, "mlp.")
    gate_up = read.stacked([[f"mlp.experts.{i}.{name}" for name in ("gate_proj", "up_proj")] for i in experts])
    down = read.stacked([[f"mlp.experts.{i}.down_proj"] for i in experts])
    weights["gate_up"], weights["down"] = device_tensor(gate_up), device_tensor(down)
    if not operators.IN_NUMPY:  # transposed by the device
        packed = operators.pack_experts(weights["gate_up"], weights["down"])
        weights["gate_up"], weights["down"] = (tensor.contiguous() for tensor in packed)
    if spec.shared_expert:
        weights |= _dense(read, "mlp.shared_expert.")
    return weights


def small_weights(
    reader: Any, prefix: str, index: int, spec: DecoderSpec, operators: Any, dtype: Any
) -> dict[str, np.ndarray]:
    """Of `layer_weights`, those that every rank has whole: norms, router, biases, shared_gate."""
    return _small(Reading(reader, f"{prefix}layers.{index}.", dtype, operators.IN_NUMPY), spec, index)


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


class Reading:
    """Weights of a checkpoint below one prefix, in numpy dtype `dtype`, each copied once: from the mapped file to where
    it is wanted. transposed: matrices are (in, out) there."""

    def __init__(self, reader: Any, prefix: str, dtype: Any, transposed: bool):
        self.reader, self.prefix, self.dtype, self.transposed = reader, prefix, dtype, transposed

    def __call__(self, *names: str, kind: str = "weight") -> np.ndarray:
        """Those of `names`, joined along their first axis in the checkpoint."""
        return self._filled(None, [names], kind)

    def stacked(self, items: Sequence[Sequence[str]]) -> np.ndarray:
        """(len(items), ...): of each item what `read(*item)` gives; all are of one shape."""
        return self._filled(len(items), items, "weight")

    def _filled(self, count: int | None, items: Sequence[Sequence[str]], kind: str) -> np.ndarray:
        shapes = [self.reader.shape(f"{self.prefix}{name}.{kind}") for name in items[0]]
        shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        order = (1, 0) if self.transposed and len(shape) == 2 else range(len(shape))
        out = np.empty((1 if count is None else count, *(shape[axis] for axis in order)), self.dtype)
        for item, names in zip(out, items, strict=True):
            place = item.transpose(*order)  # its own inverse
            start = 0
            for name in names:
                full_name = f"{self.prefix}{name}.{kind}"
                values = self.reader.read(full_name)
                place[start : start + len(values)] = values
                self.reader.release(full_name)
                start += len(values)
        return out[0] if count is None else out


def _dense(read: Any, prefix: str) -> dict[str, np.ndarray]:
    return {
        "dense_gate_up": read(f"{prefix}gate_proj", f"{prefix}up_proj"),
        "dense_down": read(f"{prefix}down_proj"),
    }
