"""What decoders compute with, by device: a module for Ascend and one for the CPU. Imports no MindSpore.

Both have JIT_OPTIONS, for `ms.jit` of graphs, and the names of COMMON with the same signatures. IN_NUMPY says whether
the layers are kernels in numpy, in float32 and with weights (in, out), as on the CPU; a device without has the names of
OPERATORS, of which a layer is made. ONE_TOKEN_A_GRAPH: a call of a graph makes one token of each row, since the rows'
lengths come from the host.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

_MODULES = {"Ascend": "ms_omni.kernels.decoder_ops_ascend", "CPU": "ms_omni.kernels.decoder_ops_cpu"}

# At loading: scale_dtype, of the scales of 8-bit weights in memory. On the host: num_kept. For each graph: Sampler,
# whose objects pick the next tokens. In graphs: rows_of, the numbers of one choice after the other
COMMON = ("scale_dtype", "num_kept", "Sampler", "rows_of")

# Once, at loading:              pack_experts; under zero3 in every layer
# Of prompts, outside graphs:    prefill_attention, read_cache
# Of tokens, in graphs:          decode_attention; frame_attention, extend_frame (code predictor)
# Of both, in every layer:       the others; linear and experts by --quantize (int8_, dynamic_)
OPERATORS = (
    "pack_experts",
    "rms_norm",
    "add_rms_norm",
    "linear",
    "split",
    "split_qkv",
    "rotary",
    "write_cache",
    "read_cache",
    "decode_attention",
    "frame_attention",
    "extend_frame",
    "prefill_attention",
    "swiglu",
    "route",
    "experts",
    "int8_linear",
    "int8_experts",
    "dynamic_linear",
    "dynamic_experts",
)


def decoder_ops(device: str) -> ModuleType:
    """The module of `device`, "Ascend" or "CPU" (what `setup_device` returns).

    Raises ValueError for another device.
    """
    if device not in _MODULES:
        raise ValueError(f"decoder operators for device {device!r}: expected one of {', '.join(_MODULES)}")
    return import_module(_MODULES[device])
