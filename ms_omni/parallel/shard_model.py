"""Cuts a whole model down to one rank's part: each Parameter gets the shape that the rank stores, and each cell
computes with it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ms_omni.errors import OmniError
from ms_omni.parallel.sizes import ModelSizes
from ms_omni.parallel.start import start_world
from ms_omni.parallel.table import REPLICATED, applied_rule, check_world, padded_shape, rule, shard_slices
from ms_omni.parallel.world import World

# Split by rows of the vocabulary and never gathered, see vocabulary.py
_TABLE = re.compile(
    r"(thinker\.model\.embed_tokens|talker\.model\.codec_embedding|talker\.code_predictor\.model\.codec_embedding\.\d+"
    r"|code2wav\.code_embedding)\.weight"
)
_HEAD = re.compile(r"(thinker\.lm_head|talker\.codec_head|talker\.code_predictor\.lm_head\.\d+)\.weight")


def shard_model(
    model: Any, mode: str, world: World | None = None, sizes: ModelSizes | None = None, *, keep_values: bool = True
) -> Any:
    """Changes the model in place so that this rank stores and computes its part, and returns it. Like mindone's
    `prepare_network` with zero_stage 3, but by the shard table, and without gathering embeddings and heads.

    model: mindone's Qwen3OmniMoeForConditionalGeneration, as `build_model` or mindone makes it. mode: "zero3" for any;
    "ep" and "tp" for one without decoder layers (`load_network(with_decoders=False)`); "none" changes nothing. world:
    by default that of the job, which is then started. sizes: by default those of model.config. keep_values False: the
    weights are yet to be loaded, by `load_weights` from a ShardedReader. Sets model.world. Raises OmniError."""
    import mindspore as ms

    rule("", mode)
    if mode == "none":
        return model
    world = start_world(ms.get_context("device_target")) if world is None else world
    if world.group_size == 1:
        return model
    sizes = ModelSizes.from_config(model.config) if sizes is None else sizes
    check_world(mode, world.group_size, sizes)
    whole_shapes: dict[int, tuple[int, ...]] = {}
    for prefix, cell in list(model.cells_and_names()):
        num_rows = {}
        for name, parameter in cell.parameters_and_names(expand=False):
            full_name = f"{prefix}.{name}" if prefix else name
            # A tied Parameter comes twice, the second time with the shape of its part
            shape = whole_shapes.setdefault(id(parameter), tuple(parameter.shape))
            if applied_rule(full_name, shape, mode, world.group_size, sizes).kind == REPLICATED:
                continue
            _check_can_be_split(full_name, mode)
            if tuple(parameter.shape) == shape:
                _keep_part(parameter, full_name, mode, world, sizes, keep_values)
            num_rows[name] = shape[0]
        _replace_computation(cell, prefix, num_rows, mode, world)
    model.world = world
    return model


def _check_can_be_split(name: str, mode: str) -> None:
    if mode != "zero3" and not (_TABLE.fullmatch(name) or _HEAD.fullmatch(name)):
        raise OmniError(
            f"--parallel {mode} with --engine mindone: mindone's decoder layers cannot be split ({name}); "
            f"use --engine fused, or --parallel zero3"
        )


def _replace_computation(cell: Any, prefix: str, num_rows: dict[str, int], mode: str, world: World) -> None:
    from ms_omni.parallel.gathered import gather_weights, split_head, split_table
    from ms_omni.parallel.synchronized_experts import synchronize_experts

    if mode == "zero3":
        synchronize_experts(cell, world)
    if not num_rows:
        return
    if _TABLE.fullmatch(f"{prefix}.weight"):
        split_table(cell, num_rows["weight"], world)
    elif _HEAD.fullmatch(f"{prefix}.weight"):
        split_head(cell, num_rows["weight"], world)
    else:
        gather_weights(cell, num_rows, world)


def _keep_part(parameter: Any, name: str, mode: str, world: World, sizes: ModelSizes, keep_values: bool) -> None:
    """Cuts the Parameter in place, so that cells which share it share the part."""
    import mindspore as ms

    from ms_omni.checkpoint.load import numpy_dtype

    whole, size = tuple(parameter.shape), world.group_size
    part = np.empty(padded_shape(name, whole, mode, size, sizes), numpy_dtype(parameter.dtype))
    if keep_values:
        # MindSpore's bfloat16 for numpy is another type than that of ml_dtypes
        values = parameter.asnumpy().view(part.dtype)[shard_slices(name, whole, mode, world.group_rank, size, sizes)]
        part[...] = 0
        part[tuple(slice(0, length) for length in values.shape)] = values
    parameter.set_data(ms.Tensor.from_numpy(part))
