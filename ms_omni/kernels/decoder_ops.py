"""The operators of a decoder layer, by device: one signature each, a module for Ascend and one for the CPU.

Both modules have every name of OPERATORS with the same signature, usable in `ms.jit` graphs compiled with the module's
JIT_OPTIONS. Sizes are those of one sequence (batch 1): a prompt of S tokens or one token at a time. Imports no
MindSpore.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

_MODULES = {"Ascend": "ms_omni.kernels.decoder_ops_ascend", "CPU": "ms_omni.kernels.decoder_ops_cpu"}

# Once, at loading:     pack_experts; under zero3 in every layer
# On the host:          cache_shape, cache_rows, num_kept
# For each graph:       Sampler, whose objects pick the next tokens
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
    "num_kept",
    "Sampler",
)


def decoder_ops(device: str) -> ModuleType:
    """The module that implements OPERATORS on `device`, "Ascend" or "CPU" (what `setup_device` returns).

    Raises ValueError for another device.
    """
    if device not in _MODULES:
        raise ValueError(f"decoder operators for device {device!r}: expected one of {', '.join(_MODULES)}")
    return import_module(_MODULES[device])
