"""Checkpoints of the float values that 8-bit weights stand for: whoever reads floats answers the same by them."""

import shutil

import numpy as np
from safetensors.numpy import load_file, save_file

from ms_omni.checkpoint.int8 import is_quantized, rounded, row_scales


def write_rounded(source, target):
    """A copy of a checkpoint directory, every weight that --quantize makes int8 replaced, in float32."""
    target.mkdir()
    for path in source.iterdir():
        if path.suffix == ".safetensors":
            tensors = {name: stood_for(name, values) for name, values in load_file(path).items()}
            save_file(tensors, target / path.name, metadata={"format": "pt"})
        elif path.is_file():
            shutil.copy(path, target / path.name)
    return target


def stood_for(name, values):
    if not is_quantized(name):
        return values
    scales = row_scales(values, name)
    return rounded(values, scales) * scales.astype(np.float32)
