"""Which quantized checkpoints load: what `quantization_config` in config.json may say, and what --quantize means.

Keys and formats are those of the package compressed-tensors, `QuantizationConfig` and `QuantizationArgs`
(github.com/vllm-project/compressed-tensors), which llm-compressor writes with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ms_omni.checkpoint.config import read_json
from ms_omni.errors import OmniError

METHOD = "compressed-tensors"
FORMATS = ("int-quantized", "naive-quantized", "pack-quantized")
NUM_BITS = 8
LOADS = (
    f"what loads is {METHOD} with 8-bit integers, symmetric, with one scale for each output channel "
    f"({', '.join(FORMATS)})"
)
# What Huawei's ModelSlim writes beside its weights, and vllm-ascend reads
_MODELSLIM = "quant_model_description*.json"


def checkpoint_quantization(directory: str | Path) -> str:
    """How a checkpoint stores the weights of its decoder layers, according to config.json: "none" for floats, or
    "int8". Raises OmniError for other quantized checkpoints, naming what is different."""
    directory = Path(directory)
    if description := next(iter(sorted(directory.glob(_MODELSLIM))), None):
        raise OmniError(f"--model {directory}: {description.name} says that ModelSlim quantized it; {LOADS}")
    return quantization_of(read_json(directory / "config.json").get("quantization_config"), str(directory))


def quantization_of(found: Any, model: str) -> str:
    """As `checkpoint_quantization`, from a quantization_config, or None. model: the checkpoint's name in the error."""
    if found is None:
        return "none"
    if fault := _fault(found):
        raise OmniError(f"--model {model}: quantization_config in config.json has {fault}; {LOADS}")
    return "int8"


def resolve_quantize(asked: str, engine: str, directory: str | Path) -> str:
    """none, int8 or int8-dynamic: what `--quantize asked` means for a checkpoint. engine: the value of --engine. Raises
    OmniError for impossible combinations, and for checkpoints that do not load."""
    return quantize_of(asked, engine, checkpoint_quantization(directory), str(directory))


def quantize_of(asked: str, engine: str, stored: str, model: str) -> str:
    """As `resolve_quantize`, for weights `stored` as "none" or "int8". model: the checkpoint's name in the error."""
    if stored == "none":
        return "none" if asked == "auto" else asked
    if engine == "mindone":
        raise OmniError(f"--engine mindone: cannot read the 8-bit weights of --model {model}; use fused")
    if asked == "none":
        raise OmniError(f"--quantize none: the weights of --model {model} are int8 already; use auto or int8")
    return "int8" if asked == "auto" else asked


def _fault(config: Any) -> str | None:
    """Why a quantization_config does not load, as the object of "has"; None if it loads."""
    if not isinstance(config, dict):
        return "no mapping as its value"
    if config.get("quant_method") != METHOD:
        return f"quant_method {config.get('quant_method')!r}"
    if (config.get("sparsity_config") or {}).get("format") not in (None, "dense"):
        return f"sparsity_config {config['sparsity_config']['format']!r}"
    for key in ("kv_cache_scheme", "transform_config"):
        if config.get(key):
            return f"a {key}"
    groups = config.get("config_groups")
    if not isinstance(groups, dict) or not groups:
        return "no config_groups"
    for name, group in groups.items():
        if not isinstance(group, dict) or not isinstance(group.get("weights"), dict):
            return f"no weights in {name}"
        found = group.get("format") or config.get("format")
        if found not in FORMATS:
            return f"format {found!r}"
        if fault := _weights_fault(group["weights"]):
            return f"{fault} in the weights of {name}"
        inputs = group.get("input_activations")
        if inputs and not inputs.get("dynamic"):
            return f"fixed scales for hidden states (input_activations that are not dynamic) in {name}"
        if group.get("output_activations"):
            return f"output_activations in {name}"
    return None


def _weights_fault(weights: dict[str, Any]) -> str | None:
    kind, bits = weights.get("type", "int"), weights.get("num_bits", NUM_BITS)
    if (kind, bits) != ("int", NUM_BITS):
        return f"{bits} bits of type {kind!r}"
    if weights.get("symmetric") is False:
        return "zero points (symmetric false)"
    if weights.get("strategy") not in ("channel", "tensor"):
        return f"strategy {weights.get('strategy')!r}"
    if weights.get("actorder"):
        return f"actorder {weights['actorder']!r}"
    return None


def quantization_config(ignored: list[str]) -> dict[str, Any]:
    """Of config.json, for weights as `ms_omni.checkpoint.int8` makes them. ignored: modules whose weights stay float.
    Hidden states are described as llm-compressor's scheme W8A8 with dynamic scales does, so that others multiply
    integers; this package takes that from --quantize."""
    common = {"num_bits": NUM_BITS, "type": "int", "symmetric": True}
    return {
        "quant_method": METHOD,
        "format": FORMATS[0],
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {**common, "strategy": "channel", "dynamic": False},
                "input_activations": {**common, "strategy": "token", "dynamic": True},
                "output_activations": None,
            }
        },
        "ignore": ignored,
        "kv_cache_scheme": None,
    }
