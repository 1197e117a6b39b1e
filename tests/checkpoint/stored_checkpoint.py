"""Checkpoints with 8-bit weights as other programs write them, made from a float one."""

import json
import re
import shutil

import numpy as np
from safetensors.numpy import save_file

from ms_omni.checkpoint.int8 import is_quantized, rounded, row_scales
from ms_omni.checkpoint.reader import CheckpointReader

# Outside of the decoder layers, or not a matrix that --quantize makes int8
FOREIGN = ("thinker.lm_head.weight", "thinker.visual.blocks.0.mlp.linear_fc1.weight")
# A weight that --quantize makes int8 and that these leave as it is
LEFT = "thinker.model.layers.1.self_attn.o_proj.weight"


def config_of(fmt, **weights):
    """quantization_config as llm-compressor writes it; `weights` changes how weights are described."""
    described = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
    group = {"targets": ["Linear"], "weights": described | weights, "input_activations": None}
    return {
        "config_groups": {"group_0": group},
        "format": fmt,
        "ignore": [LEFT.removesuffix(".weight")],
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
        "sparsity_config": {},
        "transform_config": {},
        "version": "0.20.1",
    }


def packed(values):
    """int8 (out, in) as int32 (out, in / 4, rounded up): a sum of bytes, the first value the lowest."""
    columns = -(-values.shape[1] // 4) * 4
    wide = np.zeros((len(values), columns), np.int64)
    wide[:, : values.shape[1]] = values.astype(np.int64) + 128
    parts = wide.reshape(len(values), -1, 4)
    return sum(parts[:, :, place] << (8 * place) for place in range(4)).astype(np.uint32).view(np.int32)


def arrays_of(source, fmt, scale_dtype=np.float32):
    """name -> array of the files, with FOREIGN in 8 bits and LEFT in float values."""
    reader = CheckpointReader(source)
    made = {}
    for name in reader.names():
        values = reader.read(name)
        if name == LEFT or not (is_quantized(name) or name in FOREIGN):
            made[name] = values
            continue
        scales = row_scales(values, name)
        whole = rounded(values, scales)
        if fmt == "pack-quantized":
            made |= {name + "_packed": packed(whole), name + "_shape": np.array(values.shape, np.int64)}
        else:
            made[name] = whole
        made[name + "_scale"] = scales.astype(scale_dtype)
    return made


def write(source, target, arrays, quantization_config):
    """A checkpoint directory of these arrays, with all else of `source`."""
    target.mkdir()
    for path in source.iterdir():
        if not re.search(r"safetensors", path.name):
            shutil.copyfile(path, target / path.name)
    save_file(dict(arrays), target / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    if quantization_config is not None:
        config["quantization_config"] = quantization_config
    (target / "config.json").write_text(json.dumps(config))
    return target
