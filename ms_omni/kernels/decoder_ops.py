"""The operators that decoders are made of, one module for each device. Imports no MindSpore.

Both modules have JIT_OPTIONS, for `ms.jit` of graphs, and with the same signatures: scale_dtype, for the scales of
8-bit weights in memory; num_kept and Sampler, which pick the next tokens; rows_of, which splits random numbers.
IN_NUMPY: the layers are numpy kernels, in float32 and with weights (in, out), as on the CPU. The module of another
device has one function for each operator of a layer. ONE_TOKEN_A_GRAPH: a graph call makes one token for each row,
because the host supplies the rows' lengths.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

_MODULES = {"Ascend": "ms_omni.kernels.decoder_ops_ascend", "CPU": "ms_omni.kernels.decoder_ops_cpu"}


def decoder_ops(device: str) -> ModuleType:
    """The module of `device`, "Ascend" or "CPU" (what `setup_device` returns).

    Raises ValueError for another device.
    """
    if device not in _MODULES:
        raise ValueError(f"decoder operators for device {device!r}: expected one of {', '.join(_MODULES)}")
    return import_module(_MODULES[device])
