"""A checkpoint directory in, a model with its weights out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TALKER_PREFIXES = ("talker.", "code2wav.")
DECODER_PREFIXES = ("thinker.model.layers.", "talker.model.layers.", "talker.code_predictor.model.layers.")


def load_network(
    path: str | Path,
    *,
    dtype: Any = None,
    attn_implementation: str = "eager",
    with_talker: bool = True,
    with_decoders: bool = True,
    parallel: str = "none",
    world: Any = None,
    progress: Any = None,
    config: Any = None,
    reader: Any = None,
) -> Any:
    """mindone's Qwen3OmniMoeForConditionalGeneration with this package's corrections and the weights of `path` (a
    checkpoint directory or a hub name in the local cache).

    dtype: a MindSpore float type (default float32). with_talker False skips the weights of Talker and Code2Wav.
    with_decoders False builds Thinker, Talker and code predictor without their decoder layers, for a runtime that has
    its own: encoders, embeddings, projections, heads and Code2Wav remain.
    parallel: how `shard_model` spreads the model over the group of `world` (by default this job's, which is then
    started): none, zero3, or, without decoders, ep and tp. Every rank reads only its own part.
    progress: called with ("load", weights done, weights in all). config, reader: of `path`, if the caller has read them
    already. Raises OmniError for a checkpoint that lacks a weight or a shard, and with decoders for one with 8-bit
    weights. Call ms_omni.kernels.setup_device first."""
    import mindspore as ms

    from ms_omni.checkpoint.compressed import resolve_quantize
    from ms_omni.checkpoint.config import read_config
    from ms_omni.checkpoint.lazy_init import skip_init
    from ms_omni.checkpoint.load import load_weights
    from ms_omni.checkpoint.resolve import resolve_checkpoint
    from ms_omni.checkpoint.stored_reader import open_checkpoint
    from ms_omni.models.build import build_model, without_decoders
    from ms_omni.models.flash import use_inference_attention
    from ms_omni.models.masks import use_broadcast_masks
    from ms_omni.parallel.shard_model import shard_model
    from ms_omni.parallel.shards import ShardedReader
    from ms_omni.parallel.sizes import ModelSizes
    from ms_omni.parallel.start import start_world

    directory = resolve_checkpoint(path)
    if with_decoders:
        resolve_quantize("auto", "mindone", directory)
    config = config or read_config(directory)
    sizes = ModelSizes.from_config(config)
    if parallel != "none" and world is None:
        world = start_world(ms.get_context("device_target"))
    ignored: tuple[str, ...] = ()
    if not with_decoders:
        config, ignored = without_decoders(config), DECODER_PREFIXES
    dtype = ms.float32 if dtype is None else dtype
    reader = reader or open_checkpoint(directory)
    use_broadcast_masks()
    use_inference_attention()
    with skip_init(dtype):
        model = build_model(config, with_talker=with_talker, dtype=dtype, attn_implementation=attn_implementation)
    if not model.has_talker:
        ignored = (*ignored, *TALKER_PREFIXES)
    if parallel != "none":
        model = shard_model(model, parallel, world, sizes, keep_values=False)
        reader = ShardedReader(reader, parallel, world, sizes)
    load_weights(model, reader, dtype, ignore_prefixes=ignored, progress=progress)
    return model
