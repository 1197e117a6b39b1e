"""Reads a decoder's weights, with experts stacked and projections joined: few, large tensors for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ms_omni.checkpoint.parameters import device_tensor
from ms_omni.runtime.decoder_spec import DecoderSpec


class Dtypes(NamedTuple):
    """numpy dtypes in memory: of float weights, and of the scales of int8 weights."""

    floats: np.dtype
    scales: np.dtype


def layer_weights(
    reader: Any, prefix: str, index: int, spec: DecoderSpec, operators: Any, dtypes: Dtypes, experts: range
) -> dict[str, Any]:
    """The arrays of layer `index`; those of experts are tensors on the device. reader: a CheckpointReader, or a
    ShardedReader, whose slices then give the sizes. prefix: "thinker.model.". experts: those to read.

    Matrices are (out, in) as in the checkpoint. Where layers are numpy kernels (kernels/numpy_math.py), float matrices
    are (in, out): the shapes below transposed. int8 matrices are (out, in) everywhere, each with its scales under its
    own name and "_scale": (out,), or (experts, out).

    norm_post: (hidden,). q_norm, k_norm: (head_dim,). qkv: ((heads + 2 kv_heads) * head_dim, hidden). o: (hidden,
    heads * head_dim), and with biases qkv_bias and o_bias of their first axes. Experts: router (experts, hidden),
    gate_up (experts, 2 * intermediate, hidden) and down (experts, hidden, intermediate) as the device's `pack_experts`
    makes them. A dense or shared one: dense_gate_up (2 * intermediate, hidden), dense_down (hidden, intermediate), and
    shared_gate (1, hidden) for the latter."""

    read = LayerReader(reader, f"{prefix}layers.{index}.", dtypes, operators.IN_NUMPY)
    weights: dict[str, Any] = _small(read, spec, index)
    weights |= read.matrix("qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    weights |= read.matrix("o", "self_attn.o_proj")
    if index in spec.dense_layers:
        return weights | _dense(read, "mlp.")
    names = [[f"mlp.experts.{i}.{name}" for name in ("gate_proj", "up_proj")] for i in experts]
    weights |= read.matrices("gate_up", names)
    weights |= read.matrices("down", [[f"mlp.experts.{i}.down_proj"] for i in experts])
    for name in ("gate_up", "down"):
        weights[name] = device_tensor(weights[name])
    if not operators.IN_NUMPY:  # transposed by the device
        packed = operators.pack_experts(weights["gate_up"], weights["down"])
        weights["gate_up"], weights["down"] = (tensor.contiguous() for tensor in packed)
    if spec.shared_expert:
        weights |= _dense(read, "mlp.shared_expert.")
    return weights


def small_weights(
    reader: Any, prefix: str, index: int, spec: DecoderSpec, operators: Any, dtypes: Dtypes
) -> dict[str, np.ndarray]:
    """The part of `layer_weights` that every rank has whole: norms, router, biases, shared_gate."""
    return _small(LayerReader(reader, f"{prefix}layers.{index}.", dtypes, operators.IN_NUMPY), spec, index)


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


class LayerReader:
    """Reads weights below one prefix, each copied once: from the mapped file to its final place. transposed: float
    matrices become (in, out)."""

    def __init__(self, reader: Any, prefix: str, dtypes: Dtypes, transposed: bool):
        self.reader, self.prefix, self.dtypes, self.transposed = reader, prefix, dtypes, transposed

    def __call__(self, *names: str, kind: str = "weight") -> np.ndarray:
        """The weights `names`, concatenated along their first axis in the checkpoint."""
        return self._filled([names], kind)[0]

    def matrix(self, key: str, *names: str) -> dict[str, np.ndarray]:
        """`read(*names)` under `key`, and its scales if it is int8."""
        return {name: array[0] for name, array in self.matrices(key, [names]).items()}

    def matrices(self, key: str, items: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
        """`matrix(key, *item)` of every item, stacked: (len(items), ...). All have one shape."""
        made = {key: self._filled(items, "weight")}
        if made[key].dtype == np.int8:
            made[f"{key}_scale"] = self.scales(items)
        return made

    def scales(self, items: Sequence[Sequence[str]]) -> np.ndarray:
        """The concatenated scales of each item's weights, (len(items), out)."""
        return self._filled(items, "weight_scale")[..., 0]

    def dtype_of(self, full_name: str) -> np.dtype:
        """The dtype in memory."""
        if self.reader.dtype(full_name) == np.int8:
            return np.dtype(np.int8)
        return self.dtypes.scales if full_name.endswith("_scale") else self.dtypes.floats

    def _filled(self, items: Sequence[Sequence[str]], kind: str) -> np.ndarray:
        shapes = [self.reader.shape(f"{self.prefix}{name}.{kind}") for name in items[0]]
        shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        dtype = self.dtype_of(f"{self.prefix}{items[0][0]}.{kind}")
        is_turned = self.transposed and kind == "weight" and dtype != np.int8 and len(shape) == 2
        order = (1, 0) if is_turned else range(len(shape))
        out = np.empty((len(items), *(shape[axis] for axis in order)), dtype)
        for item, names in zip(out, items, strict=True):
            place = item.transpose(*order)  # its own inverse
            start = 0
            for name in names:
                full_name = f"{self.prefix}{name}.{kind}"
                values = self.reader.read(full_name)
                place[start : start + len(values)] = values
                self.reader.release(full_name)
                start += len(values)
        return out


def _dense(read: Any, prefix: str) -> dict[str, np.ndarray]:
    gate_up = read.matrix("dense_gate_up", f"{prefix}gate_proj", f"{prefix}up_proj")
    return gate_up | read.matrix("dense_down", f"{prefix}down_proj")
