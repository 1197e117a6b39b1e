"""What decoders compute with, by device: a module for Ascend and one for the CPU. Imports no MindSpore.

Both have JIT_OPTIONS, for `ms.jit` of graphs, and the names of SAMPLING with the same signatures. IN_NUMPY says whether
the layers are kernels in numpy, in float32 and with weights (in, out), as on the CPU; a device without has the names of
OPERATORS, of which a layer is made, usable in graphs and outside.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

_MODULES = {"Ascend": "ms_omni.kernels.decoder_ops_ascend", "CPU": "ms_omni.kernels.decoder_ops_cpu"}

# On the host: num_kept. For each graph: Sampler, whose objects pick the next tokens
SAMPLING = ("num_kept", "Sampler")

# Once, at loading:     pack_experts; under zero3 in every layer
# On the host:          cache_shape, cache_rows
# Once a token or step: prepare_mask
# In every layer:       the others
OPERATORS = (
    "pack_experts",
    "cache_shape",
    "cache_rows",
    "prepare_mask",
    "rms_norm",
    "add_rms_norm",
    "linear",
    "split_qkv",
    "rotary",
    "write_cache",
    "decode_attention",
    "prefill_attention",
    "swiglu",
    "route",
    "experts",
)


def decoder_ops(device: str) -> ModuleType:
    """The module of `device`, "Ascend" or "CPU" (what `setup_device` returns).

    Raises ValueError for another device.
    """
    if device not in _MODULES:
        raise ValueError(f"decoder operators for device {device!r}: expected one of {', '.join(_MODULES)}")
    return import_module(_MODULES[device])
